"""Print how much of each slice the last run with coverage saw: lines and branches together.

Reads `.coverage`, and the files beside it that processes which were ended late have left.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ("src", "atelier")


def coverage(*arguments: str) -> None:
    """Run the tool; what it says of files that cannot be read goes to standard error."""
    command = [sys.executable, "-m", "coverage", *arguments]
    subprocess.run(command, cwd=ROOT, check=False, stdout=sys.stderr)  # noqa: S603 - our own words


def main() -> None:
    """A table in Markdown: the slice or folder, its statements and branches, the share seen."""
    if list(ROOT.glob(".coverage.*")):
        coverage("combine", "--append", "--quiet")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        coverage("json", "--quiet", "-o", str(report))
        files = json.loads(report.read_bytes())["files"]
    total: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for path, found in files.items():
        parts = Path(path).parts
        if PACKAGE[1] not in parts:
            continue
        inside = parts[parts.index(PACKAGE[1]) + 1 :]
        summary = found["summary"]
        seen = summary["covered_lines"] + summary["covered_branches"]
        every = summary["num_statements"] + summary["num_branches"]
        for name in (inside[0], "all"):
            total[name][0] += seen
            total[name][1] += every
    print("| | statements and branches | seen |")  # noqa: T201 - the answer
    print("|---|---|---|")  # noqa: T201 - the answer
    for name, (seen, every) in sorted(total.items(), key=lambda item: (item[0] == "all", item[0])):
        print(f"| {name} | {every} | {100 * seen / (every or 1):.0f} % |")  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
