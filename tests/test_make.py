"""Messages of `make` before it has made anything."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OLD = """#!/bin/sh
[ "$1" = --version ] && echo "Python 3.9.1"
[ "$1" = --version ]
"""


@pytest.mark.parametrize(("given", "said"), [("old", "is Python 3.9.1"), ("none", "is not there")])
def test_a_python_that_will_not_do_is_named(tmp_path: Path, given: str, said: str) -> None:
    """A missing or old Python is named first, and leaves nothing behind for the right one."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements-build.txt", "requirements.txt", "pyproject.toml"):
        (tmp_path / name).touch()
    old = tmp_path / "old"
    old.write_text(OLD)
    old.chmod(0o755)
    made = subprocess.run(
        ["make", "up", f"PYTHON=./{given}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 2
    assert "Atelier needs Python 3.11 or newer" in made.stderr
    assert said in made.stderr
    assert not (tmp_path / ".venv").exists()
