"""`pip install .`, which knows no lock, takes the release series that was tested."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.install.conftest import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
REQUIREMENTS = [
    Requirement(each)
    for each in PYPROJECT["project"]["dependencies"] + PYPROJECT["build-system"]["requires"]
]
LOCK = re.compile(r"^([a-z0-9._-]+)==([^ ;]+)", re.MULTILINE)


def locked(name: str) -> list[Version]:
    """The versions that the lock has of a package: some differ by Python."""
    lists = (ROOT / each for each in ("requirements.txt", "requirements-build.txt"))
    found = [pin for each in lists for pin in LOCK.findall(each.read_text())]
    return [Version(version) for pinned, version in found if pinned == canonicalize_name(name)]


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda each: each.name)
def test_a_requirement_ends_with_its_release_series(requirement: Requirement) -> None:
    """It takes what is locked and not the next major release, of 0.x not the next minor one."""
    newest = max(locked(requirement.name))
    major = Version(f"{newest.major + 1}")
    following = major if newest.major else Version(f"0.{newest.minor + 1}")
    assert newest in requirement.specifier
    assert following not in requirement.specifier
