"""Writes the bill of materials of the locked set: CycloneDX 1.6, JSON, the same every time.

`python -m scripts.sbom > sbom.cdx.json`. From the lock alone, but for licences: those that the
installed distributions declare, where they are of the locked version.
"""

from __future__ import annotations

import json
import sys
import uuid
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any

from scripts import lock

SPECIFICATION = "1.6"
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/")
PAGE = "https://pypi.org/project/{name}/{version}/#files"


def main() -> int:
    """Write the document to standard output."""
    sys.stdout.write(json.dumps(document(lock.read()), indent=2, ensure_ascii=False) + "\n")
    return 0


def document(found: list[lock.Locked]) -> dict[str, Any]:
    """The bill of these distributions. Its serial number is a digest of the rest."""
    own = metadata("atelier")
    root = {
        "type": "application",
        "bom-ref": f"pkg:pypi/atelier@{own['Version']}",
        "name": "atelier",
        "version": own["Version"],
        "purl": f"pkg:pypi/atelier@{own['Version']}",
    }
    body = {
        "metadata": {"component": root},
        "components": [component(each) for each in found],
        "dependencies": dependencies(found, str(root["bom-ref"])),
    }
    serial = uuid.uuid5(NAMESPACE, json.dumps(body, sort_keys=True))
    head = {"bomFormat": "CycloneDX", "specVersion": SPECIFICATION}
    return head | {"serialNumber": f"urn:uuid:{serial}", "version": 1} | body


def component(one: lock.Locked) -> dict[str, Any]:
    """A distribution, with the digests of each file that the lock lets pip install."""
    files = {
        "type": "distribution",
        "url": PAGE.format(name=one.name, version=one.version),
        "hashes": [{"alg": "SHA-256", "content": digest} for digest in sorted(one.hashes)],
    }
    made = {
        "type": "library",
        "bom-ref": one.purl,
        "name": one.name,
        "version": one.version,
        "purl": one.purl,
        "externalReferences": [files],
    }
    declared = licence(one)
    return made | ({"licenses": [{"expression": declared}]} if declared else {})


def licence(one: lock.Locked) -> str | None:
    """The SPDX expression that the installed distribution declares, if it is this version."""
    try:
        found = metadata(one.name)
    except PackageNotFoundError:
        return None
    return found.get("License-Expression") if found["Version"] == one.version else None


def dependencies(found: list[lock.Locked], root: str) -> list[dict[str, Any]]:
    """Who needs whom, by the comments of the lock."""
    refs = {lock.SELF: [root]}
    for one in found:  # one for each version: some differ by Python or platform
        refs.setdefault(one.name, []).append(one.purl)
    needs: dict[str, set[str]] = {ref: set() for each in refs.values() for ref in each}
    for one in found:
        for ref in (ref for name in one.via for ref in refs.get(name, ())):
            needs[ref].add(one.purl)
    return [{"ref": ref, "dependsOn": sorted(needs[ref])} for ref in sorted(needs)]


if __name__ == "__main__":
    sys.exit(main())
