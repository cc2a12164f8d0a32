"""The page on `atelier classify`: what it gives to try runs as it stands, in a clone."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```console\n\$ (.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[list[str], list[str]]]:
    """Each command of the page, for this interpreter's programs, with its expected lines."""
    text = (ROOT / "docs" / "howto" / "classify.md").read_text(encoding="utf-8")
    programs = str(Path(sys.executable).parent)
    return [
        ([word.replace(".venv/bin", programs) for word in shlex.split(command)], said.splitlines())
        for command, said in BLOCK.findall(text)
    ]


def shape(line: str) -> str:
    """A line without its figures, which each run has of its own."""
    return re.sub(r"[\d,.]+", "0", line)


@pytest.fixture
def port() -> Iterator[str]:
    """That of the page's stand-in, on a port that is free."""
    (command, said), _ = blocks()
    free = [{said[0]: "0"}.get(word, word) for word in command]
    with subprocess.Popen(free, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().strip()
        process.terminate()


def test_the_first_run_is_as_shown(port: str, tmp_path: Path) -> None:
    """The stand-in starts, every test photo is classified, and the report is as on the page."""
    (_, (shown_port,)), (command, said) = blocks()
    shown_output, output = command[-1], str(tmp_path / "photos.jsonl")
    command = [word.replace(shown_port, port).replace(shown_output, output) for word in command]
    said = [line.replace(shown_output, output) for line in said]
    done = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    first, *others = done.stdout.splitlines()
    assert first == said[0]
    assert sorted(map(shape, others)) == sorted(map(shape, said[1:]))
