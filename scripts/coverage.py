"""The share of lines and branches met by the last run of `make coverage`, for each slice."""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from coverage import Coverage
from coverage.exceptions import CoverageWarning

SOURCE = Path(__file__).parents[1] / "src" / "atelier"


class Met(NamedTuple):
    """Statements and branches, those that were met and all that there are."""

    lines: int = 0
    all_lines: int = 0
    branches: int = 0
    all_branches: int = 0

    def plus(self, other: Met) -> Met:
        """The sums."""
        return Met(*(one + more for one, more in zip(self, other, strict=True)))

    def row(self, name: str) -> str:
        """A line of a Markdown table, in per cent.

        The last column counts lines and branches alike.
        """
        both = self.lines + self.branches, self.all_lines + self.all_branches
        figures = (self.lines, self.all_lines), (self.branches, self.all_branches), both
        shares = " | ".join(f"{100 * met / of:.0f} %" if of else "" for met, of in figures)
        return f"| {name} | {shares} |"


def slice_of(path: Path) -> str:
    """The folder or module of `atelier` in which a file is."""
    return path.resolve().relative_to(SOURCE).parts[0].removesuffix(".py")


def by_slice() -> dict[str, Met]:
    """The last run's data file, and those of processes that ended after it."""
    coverage = Coverage()
    coverage.load()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CoverageWarning)  # files that kill -9 left half-written
        coverage.combine()
    coverage.save()
    with tempfile.NamedTemporaryFile() as file:
        coverage.json_report(outfile=file.name)
        files = json.load(file)["files"]
    found: dict[str, Met] = defaultdict(Met)
    for name, measured in files.items():
        counts = measured["summary"]
        met = Met(
            counts["covered_lines"],
            counts["num_statements"],
            counts["covered_branches"],
            counts["num_branches"],
        )
        key = slice_of(Path(name))
        found[key] = found[key].plus(met)
    return {name: met for name, met in sorted(found.items()) if met.all_lines}


def main() -> int:
    """Print the table."""
    found = by_slice()
    total = Met()
    rows = ["| slice | lines | branches | both |", "|---|---:|---:|---:|"]
    for name, met in found.items():
        rows.append(met.row(name))
        total = total.plus(met)
    sys.stdout.write("\n".join([*rows, total.row("**all**"), ""]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
