"""Reads the lock: distributions, their versions, the digests of their files, who needs them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
SELF = "atelier (pyproject.toml)"  # as the lock calls what it was made for
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?==(?P<version>[^\s;\\]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_VIA = re.compile(r"^\s+#\s+(?:via\s*)?(?P<name>\S.*)?$")


@dataclass
class Locked:
    """One distribution of the lock."""

    name: str
    version: str
    hashes: list[str] = field(default_factory=list)
    via: list[str] = field(default_factory=list)  # names of those that need it

    @property
    def purl(self) -> str:
        """Its package URL, which databases of vulnerabilities and SBOMs share."""
        return f"pkg:pypi/{self.name.lower().replace('_', '-')}@{self.version}"


def read(path: Path = ROOT / "requirements.txt") -> list[Locked]:
    """Return the distributions of a file that `make lock` wrote, in its order."""
    found: list[Locked] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if pin := _PIN.match(line):
            found.append(Locked(pin["name"], pin["version"]))
        elif found:
            found[-1].hashes += _HASH.findall(line)
            if (via := _VIA.match(line)) and via["name"]:
                found[-1].via.append(via["name"].strip())
    return found
