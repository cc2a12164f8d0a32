"""The how-to pages over HTTP work when pasted into a shell from top to bottom."""

from __future__ import annotations

import csv
import subprocess
import zipfile
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.docs.test_tour import ROOT, commands, prompted
from tests.system.conftest import running
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.system.instance import Instance

HOWTO = ROOT / "docs" / "howto"


ACCOUNT, TOKEN = (
    line for line in commands("Two minutes") if "/api/users" in line or "/api/auth/token" in line
)


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    """An instance that all pages share, with the account that the README makes."""
    with running() as instance:
        run(instance, instance.folder, ACCOUNT)
        yield instance


def paste(instance: Instance, folder: Path, page: str) -> str:
    """The output of a shell that has the README's token and then runs the page."""
    (folder / "tests").symlink_to(ROOT / "tests")
    return run(instance, folder, TOKEN, *prompted((HOWTO / page).read_text(encoding="utf-8")))


def run(instance: Instance, folder: Path, *lines: str) -> str:
    """The output of a shell that runs these lines; none may fail."""
    pasted = "\n".join([f"A={instance.url}", *lines])
    command = ["bash", "-eu", "-o", "pipefail", "-c", pasted]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, check=False, timeout=PATIENCE_SECONDS
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_the_page_of_images_does_what_it_says(instance: Instance, tmp_path: Path) -> None:
    """Every rendition that it fetches is what it says.

    But for the retry, which it says is refused, nothing is.
    """
    said = paste(instance, tmp_path, "images.md")
    sizes = {"captioned.jpg": (640, 503), "small.jpg": (500, 375), "original.jpg": (640, 480)}
    for name, size in sizes.items():
        with Image.open(tmp_path / name) as picture:
            assert picture.size == size
    assert said.count("/problems/") == said.count("/problems/not-failed") == 1
    assert said.count('"description":"Eight seconds"') == 1
    assert 'etag: "3"' in said
    assert "HTTP/1.1 204" in said
    assert '{"restored":1}' in said
    assert '{"purged":1}' in said


def test_the_page_of_the_library_does_what_it_says(instance: Instance, tmp_path: Path) -> None:
    """The picture is found by tags and dates, tagged with others, and comes out three ways."""
    said = paste(instance, tmp_path, "library.md")
    assert "/problems/" not in said
    assert '{"count":1,"exact":true}' in said
    assert '[{"tag":"iceland","count":1}]' in said
    assert '{"changed":1,"unchanged":0}' in said
    assert len((tmp_path / "pictures.csv").read_bytes().splitlines()) == 2
    assert (tmp_path / "pictures.jsonl").read_bytes().count(b'"summer"') == 1
    with zipfile.ZipFile(tmp_path / "pictures.zip") as archive:
        assert archive.namelist()[1:] == ["manifest.csv"]


def test_the_page_of_books_does_what_it_says(instance: Instance, tmp_path: Path) -> None:
    """The book is added, found by letters that are not ASCII, and changed."""
    said = paste(instance, tmp_path, "books.md")
    assert said.count('"title":"Война и мир"') == 2
    assert said.count('"title":"War and Peace"') == 1
    assert "/problems/" not in said


def test_the_page_of_tasks_does_what_it_says(instance: Instance, tmp_path: Path) -> None:
    """Both tasks are handed out, the second with a lease that is renewed and given back.

    The first is then listed among those of its space.
    """
    said = paste(instance, tmp_path, "tasks.md")
    assert said.count('"meta":"Is the light red?","free":false') == 2
    assert said.count('"lease":{"token":') == 2
    assert said.count('"meta":"And here?","free":true') == 2
    assert "/problems/" not in said


def test_the_page_of_files_does_what_it_says(instance: Instance, tmp_path: Path) -> None:
    """The file is uploaded, listed, and comes back under its name."""
    said = paste(instance, tmp_path, "files.md")
    assert said.count('"name":"README.md"') == 2
    assert (tmp_path / "README.md").read_bytes() == (
        ROOT / "tests" / "photos" / "README.md"
    ).read_bytes()


def test_the_page_of_teams_does_what_it_says(instance: Instance, tmp_path: Path) -> None:
    """Three people share a space; who may not is refused, and the last owner stays."""
    said = paste(instance, tmp_path, "teams.md")
    assert said.count('"status":') == 2
    assert '"type":"/problems/not-allowed"' in said
    assert '"type":"/problems/last-owner"' in said
    assert '"role":"worker"' in said


def test_the_page_of_work_does_what_it_says(instance: Instance, tmp_path: Path) -> None:
    """Three people answer three of four tasks, one of them is skipped; the CSV says so."""
    said = paste(instance, tmp_path, "work.md")
    assert said.count('"added":4,"present":0') == said.count('"added":0,"present":4') == 1
    assert said.count('"status":') - said.count('"status":404') == 1  # what the form refuses
    assert "One of 'red' or 'green' is needed" in said
    assert '"type":"/problems/no-free-task"' in said
    assert '"leased":2' in said
    assert '"free":0,"taken":1,"done":3' in said
    text = (tmp_path / "answers.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["state"] for row in rows] == ["done", "done", "taken", "done"]
    assert [row["light"] for row in rows] == ["red", "green", "", "green"]
    assert [row["remark"] for row in rows] == ["", "the far one", "", "'=sunny"]
    assert [row["completed_by_name"] for row in rows] == ["Fay", "Fay", "", ""]
    assert rows[0]["seen"] == "car; bus"
    assert len((tmp_path / "answers.jsonl").read_bytes().splitlines()) == 3
    with Image.open(tmp_path / "view.jpg") as picture:
        assert picture.size == (1800, 1200)
