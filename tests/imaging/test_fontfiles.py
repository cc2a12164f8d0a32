"""Fonts by name: which file is found where, and which of several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atelier.imaging.coverage import BUNDLED_FONT, coverage
from atelier.imaging.fontfiles import BUNDLED, FontFile, find, folders, read
from atelier.imaging.typeface import typeface
from tests.imaging.fonts import called, collection

if TYPE_CHECKING:
    from collections.abc import Callable

    Install = Callable[[str, bytes], Path]

ONE, TWO = "Atelier One", "Atelier Two"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a font into the fonts of a system that has no other."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path / "share"))

    def put(name: str, font: bytes) -> Path:
        path = tmp_path / "share" / "fonts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(font)
        return path

    return put


@pytest.mark.parametrize("name", [ONE, "atelier one", "ATELIER ONE", "AtelierOne", "atelier-one"])
def test_a_family_is_found_by_its_name(name: str, install: Install) -> None:
    """The name in the file counts, whatever its case and blanks, in whatever folder below."""
    path = install("truetype/some/file.ttf", called(ONE))
    assert find(name) == FontFile(path, 0, ONE, "Book")


@pytest.mark.parametrize("name", ["arial", "Arial", "arial.ttf"])
def test_a_file_is_found_by_its_name(name: str, install: Install) -> None:
    """Where no font has the name inside, that of the file counts."""
    path = install("Arial.TTF", called(ONE))
    assert find(name).path == path


def test_a_name_inside_wins(install: Install) -> None:
    """A file that merely has the name stands behind the font that is called so."""
    install("Atelier One.ttf", called(TWO))
    path = install("other.ttf", called(ONE))
    assert find(ONE).path == path


def test_the_regular_style_of_a_family_is_taken(install: Install) -> None:
    """Other styles are asked for by their names."""
    bold = install("a.ttf", called(ONE, "Bold"))
    book = install("b.ttf", called(ONE))
    assert find(ONE).path == book
    assert find("atelier one bold").path == bold


def test_a_family_without_a_regular_style_is_found(install: Install) -> None:
    """A family's only style is taken."""
    path = install("a.ttf", called(ONE, "Bold"))
    assert find(ONE) == FontFile(path, 0, ONE, "Bold")


def test_a_font_in_a_collection_is_found(install: Install) -> None:
    """With its index in the file, for drawing and for its coverage."""
    path = install("both.ttc", collection(called(ONE), called(TWO, "Bold")))
    font = find("Atelier Two")
    assert font == FontFile(path, 1, TWO, "Bold")
    assert str(font) == f"Atelier Two Bold ({path}, font 1 of it)"
    assert typeface(str(path), 16, 1).basic.getname() == (TWO, "Bold")
    assert coverage(path, 1).has("ж")


def test_the_users_own_fonts_come_first(install: Install, tmp_path: Path) -> None:
    """Of two fonts of one name that of the user is taken."""
    install("a.ttf", called(ONE))
    own = tmp_path / ".local/share/fonts/b.ttf"
    own.parent.mkdir(parents=True)
    own.write_bytes(called(ONE))
    assert find(ONE).path == own


def test_the_bundled_font_has_a_name_too(install: Install) -> None:
    """On a machine without fonts `DejaVu Sans` is the one that comes with Atelier."""
    assert find("dejavu sans") == BUNDLED
    assert read(BUNDLED_FONT) == [BUNDLED]


@pytest.mark.parametrize("name", ["arial", "DejaVu", "Sans", "", "Book"])
def test_a_name_that_no_font_has_is_refused(name: str, install: Install) -> None:
    """Never another font in its place; the folders that were searched are named."""
    folder = install("a.ttf", called(ONE)).parent
    with pytest.raises(FileNotFoundError) as refusal:
        find(name)
    assert str(folder) in refusal.value.strerror
    assert str(BUNDLED_FONT.parent) not in refusal.value.strerror


def test_what_is_no_font_is_passed_over(install: Install) -> None:
    """A broken font beside the wanted one, or a folder named like a font, stops no search."""
    install("a.ttf", b"no font")
    install("b.ttf/c.txt", b"")
    path = install("d.ttf", called(ONE))
    assert find(ONE).path == path


@pytest.mark.parametrize(
    ("system", "own"),
    [("darwin", "Library/Fonts"), ("linux", ".fonts"), ("linux", "share/fonts")],
)
def test_only_folders_that_exist_are_searched(
    system: str,
    own: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The user's, the system's and the bundled one."""
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    assert tmp_path / own not in folders()
    (tmp_path / own).mkdir(parents=True)
    found = folders()
    assert found[0] == tmp_path / own
    assert found[-1] == BUNDLED_FONT.parent
    assert all(map(Path.is_dir, found))
