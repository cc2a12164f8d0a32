"""Looks the locked dependencies up in OSV, a database of known vulnerabilities.

`python -m scripts.audit [FILE...]`. Exit code 0: none is known; 1: some are, and are named; 3: the
database was not reached, so nothing is known.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts import lock, remote

SOURCE = "https://api.osv.dev"
FILES = ("requirements.txt", "requirements-build.txt", "requirements-dev.txt")
BATCH = 500  # queries in one request; OSV takes 1,000
FOUND, UNREACHED = 1, 3


def main(arguments: Sequence[str]) -> int:
    """Print the known vulnerabilities; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, default=[lock.ROOT / n for n in FILES])
    parser.add_argument("--source", default=SOURCE, help="address of OSV, or of a mirror")
    chosen = parser.parse_args(arguments)
    locked = {one.purl: one for path in chosen.files for one in lock.read(path)}
    try:
        found = vulnerabilities(sorted(locked), chosen.source)
    except remote.Unreached as error:
        sys.stderr.write(f"audit: {error}: nothing is known about the dependencies\n")
        return UNREACHED
    for purl, names in found.items():
        sys.stdout.write(f"{locked[purl].name} {locked[purl].version}: {', '.join(names)}\n")
    count = sum(map(len, found.values()))
    sys.stdout.write(
        f"{len(locked)} dependencies, {count} known vulnerabilities ({chosen.source})\n"
    )
    return FOUND if found else 0


def vulnerabilities(purls: Sequence[str], source: str) -> dict[str, list[str]]:
    """The names of the known vulnerabilities of each package that has any.

    Raises Unreached.
    """
    found: dict[str, list[str]] = {}
    queries: list[dict[str, Any]] = [{"package": {"purl": purl}} for purl in purls]
    while queries:
        asked, queries = queries[:BATCH], queries[BATCH:]
        answer = remote.ask(f"{source}/v1/querybatch", json.dumps({"queries": asked}).encode())
        results = answer.get("results") if isinstance(answer, dict) else None
        if not isinstance(results, list) or len(results) != len(asked):
            raise remote.Unreached(f"{source} did not answer as OSV does")
        for query, result in zip(asked, results, strict=True):
            names = [each["id"] for each in result.get("vulns", ())]
            if names:
                found.setdefault(query["package"]["purl"], []).extend(names)
            if token := result.get("next_page_token"):
                queries.append(query | {"page_token": token})
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
