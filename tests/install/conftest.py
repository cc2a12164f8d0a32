"""A trial project that is installed from a lock, while the index already offers newer releases."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.install.index import BACKEND, Index, Release, project

ROOT = Path(__file__).parents[2]
FETCHED = Path(sys.prefix) / "pips"  # where `make test` puts the wheels of PIPS


def pips() -> list[str]:
    """The versions in pips/ that run on this Python, the oldest first."""
    lists = {path.stem: path.read_text() for path in (ROOT / "tests/install/pips").glob("*.txt")}
    asked = {name: Requirement(text.splitlines()[1].rstrip("\\")) for name, text in lists.items()}
    run_here = (name for name, pip in asked.items() if not pip.marker or pip.marker.evaluate())
    return sorted(run_here, key=Version)


PIPS = pips()
LISTING = """
import importlib.metadata, json
print(json.dumps({each.name: each.version for each in importlib.metadata.distributions()}))
"""
BUILD = (Release("forge", "1.0", module=BACKEND),)
RUN = (
    Release("worker", "1.0", requires=("transport[fast]>=1",)),
    Release("transport", "1.0", requires=('client>=1; extra == "fast"',), extras=("fast",)),
    Release("client", "1.0"),
    Release("bindings", "1.0", backend="forge"),
)
DEVELOP = (
    Release("measure", "1.0", requires=("cover[toml]>=1",)),
    Release("cover", "1.0", requires=('parser>=1; extra == "toml"',), extras=("toml",)),
    Release("parser", "1.0"),
)
NEWER = (
    Release("forge", "2.0", module="raise ImportError('projects must change for this release')"),
    Release("worker", "2.0", requires=("transport[fast]>=2",)),
    Release("transport", "2.0", requires=('client>=2; extra == "fast"',), extras=("fast",)),
    Release("client", "1.0", module="raise ImportError('added to the release later')", build="2"),
    Release("client", "2.0"),
    Release("bindings", "2.0", backend="forge"),
    Release("cover", "2.0", requires=('parser>=2; extra == "toml"',), extras=("toml",)),
    Release("parser", "2.0"),
)


@dataclass(frozen=True)
class Project:
    """A project in `folder`, locked as Atelier is and installed by the version `pip` of pip."""

    folder: Path
    index: Index
    pip: str

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of the machine's own settings of pip, and no index but this one."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PIP_INDEX_URL": self.index.url,
            "PIP_CONFIG_FILE": os.devnull,
        }

    def lock(self, path: str, releases: tuple[Release, ...]) -> None:
        """Write a list that takes these files and no others."""
        written = self.folder / path
        written.parent.mkdir(parents=True, exist_ok=True)
        written.write_text("".join(map(self.index.locked, releases)))

    def make_environment(self, folder: Path) -> None:
        """A virtual environment with the project's pip in it."""
        if self.pip == "bundled":
            self.run(sys.executable, "-m", "venv", folder)
        else:
            wheel = FETCHED / f"pip-{self.pip}-py3-none-any.whl"
            self.run(sys.executable, "-m", "venv", "--without-pip", folder)
            self.run(folder / "bin/python", wheel / "pip", "install", "-q", "--no-index", wheel)

    def run(self, *command: str | Path, **more: str) -> None:
        """Run a command in the project's folder; what it said is in the error, should it fail."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


@pytest.fixture(params=["bundled", *PIPS])
def trial(tmp_path: Path, request: pytest.FixtureRequest) -> Project:
    """Skips what `make test` could not fetch; under CI that fails."""
    wanted = f"pip-{request.param}-py3-none-any.whl"
    if request.param != "bundled" and not (FETCHED / wanted).exists() and not os.environ.get("CI"):
        pytest.skip(f"no {wanted}: `make test` fetches it")
    made = Project(tmp_path / "project", Index(tmp_path / "index"), request.param)
    for release in (*BUILD, *RUN, *DEVELOP, *NEWER):
        made.index.add(release)
    made.folder.mkdir()
    (made.folder / "pyproject.toml").write_text(project("trial", "1.0", "forge"))
    (made.folder / "src").mkdir()
    for name in ("README.md", "LICENSE"):
        (made.folder / name).touch()
    shutil.copy(ROOT / "Makefile", made.folder)
    made.lock("requirements-build.txt", BUILD)
    made.lock("requirements.txt", RUN)
    made.lock("requirements-dev.txt", (*RUN, *DEVELOP))
    made.lock("docker/requirements/api.txt", RUN)
    return made


def installed(environment: Path) -> dict[str, str]:
    """Names to versions of what was installed into a virtual environment."""
    listed = subprocess.run(
        [environment / "bin/python", "-c", LISTING], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    found: dict[str, str] = json.loads(listed)
    return {name: found[name] for name in found.keys() - {"pip", "setuptools"}}  # made with these
