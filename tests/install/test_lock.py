"""Whatever the index offers since, every pip installs the locked files and no others."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.install.conftest import BUILD, DEVELOP, PIPS, ROOT, RUN, Project, installed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.install.index import Release


def versions(*releases: Release) -> dict[str, str]:
    return {release.name: release.version for release in releases}


def imports(environment: Path, *names: str) -> None:
    subprocess.run([environment / "bin/python", "-c", f"import {', '.join(names)}"], check=True)


def test_make_installs_the_locked_files(trial: Project) -> None:
    """Neither a newer release nor a newer build backend changes what `make` installs."""
    environment = trial.folder / ".venv"
    trial.make_environment(environment)
    (environment / ".made").touch()
    trial.run("make", "install")
    assert installed(environment) == versions(*BUILD, *RUN) | {"trial": "1.0"}
    trial.run("make", ".venv/.dev")
    assert installed(environment) == versions(*BUILD, *RUN, *DEVELOP) | {"trial": "1.0"}
    imports(environment, "client")


@pytest.mark.parametrize("trial", [PIPS[0], PIPS[-1]], indirect=True)
def test_an_image_installs_the_locked_files(trial: Project, tmp_path: Path) -> None:
    """Nor what a Dockerfile does (tests/docker holds the recipes of all roles to be alike)."""
    builder = tmp_path / "builder"
    trial.make_environment(builder)
    image = tmp_path / "image"
    image.mkdir()
    for stage in ("builder", "package"):
        build(stage, trial, builder, image)
    environment = image / "opt/atelier"
    assert installed(environment) == versions(*RUN)
    imports(environment, "client")
    assert list((image / "package").rglob("trial-1.0.dist-info"))


def build(stage: str, trial: Project, builder: Path, image: Path) -> None:
    """Carry out a stage's COPY and RUN below `image`, with `builder` as the base's Python."""
    recipe = (ROOT / "docker/api.Dockerfile").read_text().replace("\\\n", " ")
    instructions = re.split(r"^FROM \S+(?: AS (\w+))?$", recipe, flags=re.MULTILINE)
    found = instructions[instructions.index(stage) + 1]
    work = image / "build"
    work.mkdir(exist_ok=True)
    for instruction, rest in re.findall(r"^(COPY|RUN) (.*)$", found, re.MULTILINE):
        if instruction == "COPY":
            *sources, to = shlex.split(rest)
            for each in sources:
                copy(trial.folder / each, work / to)
        else:
            below = re.sub(r"(?<=\s)/(?=opt/|package\b)", f"{image}/", rest)
            command = re.sub(r"--mount=\S+", "", below)
            path = f"{builder / 'bin'}:{trial.environment['PATH']}"
            trial.run("sh", "-ec", f"cd {shlex.quote(str(work))}; {command}", PATH=path)


def copy(source: Path, to: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, to)
    else:
        shutil.copy(source, to)
