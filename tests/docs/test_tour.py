"""The README's two minutes, pasted into a shell as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from PIL import Image

from tests.system.conftest import running
from tests.waiting import finished

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(section: str) -> Iterator[str]:
    """The commands after each prompt of a section of the README, with continued lines."""
    text = (
        (ROOT / "README.md")
        .read_text(encoding="utf-8")
        .partition(f"\n## {section}\n")[2]
        .partition("\n## ")[0]
    )
    yield from prompted(text)


def prompted(text: str) -> Iterator[str]:
    """The text behind each prompt."""
    for block in CONSOLE.findall(text):
        yield from re.findall(r"^\$ ((?:.*\\\n)*.*)$", block, re.MULTILINE)


def test_the_tour_can_be_pasted_in_one_go(tmp_path: Path) -> None:
    """The tour needs no pause or retry, and ends with a captioned picture."""
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    with running() as instance:
        pasted = "\n".join(commands("Two minutes")).replace("http://127.0.0.1:8000", instance.url)
        assert instance.url in pasted
        done = finished(["bash", "-eu", "-o", "pipefail", "-c", pasted], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "captioned.jpg") as picture:
        assert picture.size == (640, 503)
    *_, changed = re.findall(r'\{"id".*?"url":"/api/images/1"\}', done.stdout)
    assert orjson.loads(changed)["description"] == "Seven seconds"
