"""Finds the file of an installed font by the font's name.

Looks into the files themselves instead of asking fontconfig, which slim containers lack and which
answers an unknown name with another font.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from pathlib import Path

from atelier.imaging.coverage import BUNDLED_FONT

SUFFIXES = frozenset((".ttf", ".otf", ".ttc", ".otc"))
COLLECTIONS = frozenset((".ttc", ".otc"))
# Names for the style of a family that is neither bold nor italic, condensed or light.
REGULAR = frozenset(("regular", "book", "roman", "normal", "plain", ""))


@dataclass(frozen=True, slots=True)
class FontFile:
    """A font: its file, its place in a collection (else 0), and its family and style."""

    path: Path
    index: int = 0
    family: str = ""
    style: str = ""

    def __str__(self) -> str:
        within = f", font {self.index} of it" if self.path.suffix.lower() in COLLECTIONS else ""
        return f"{self.family} {self.style} ({self.path}{within})".lstrip()


BUNDLED = FontFile(BUNDLED_FONT, 0, "DejaVu Sans", "Book")


def folders() -> tuple[Path, ...]:
    """The font folders of this system, the user's own first and the bundled font last."""
    home = _home()
    if sys.platform == "darwin":
        found = [home / "Library/Fonts", Path("/Library/Fonts"), Path("/System/Library/Fonts")]
    elif sys.platform == "win32":
        local = Path(os.environ.get("LOCALAPPDATA", home / "AppData/Local"))
        found = [
            local / "Microsoft/Windows/Fonts",
            Path(os.environ.get("WINDIR", "C:/Windows"), "Fonts"),
        ]
    else:
        own = os.environ.get("XDG_DATA_HOME") or home / ".local/share"
        shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
        found = [
            home / ".fonts",
            *(Path(data, "fonts") for data in (own, *shared.split(":")) if data),
        ]
    return (*(folder for folder in found if folder.is_dir()), BUNDLED_FONT.parent)


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # a container whose user has no name
        return Path("/")


def find(name: str) -> FontFile:
    """The font of this name, ignoring case: a family, a family and style, or a file's stem.

    Of a family it takes the regular style. Raises FileNotFoundError.
    """
    return _find(name, folders())


@lru_cache(maxsize=8)
def _find(name: str, places: tuple[Path, ...]) -> FontFile:
    fonts = (font for place in places for path in _files(place) for font in read(path))
    named = [(rank, font) for font in fonts if (rank := _rank(font, name)) is not None]
    if not named:
        looked = ", ".join(map(str, places[:-1])) or "no folder of fonts"
        reason = f"there is no such file, and no font of that name in {looked}"
        raise FileNotFoundError(errno.ENOENT, reason)
    return min(named, key=lambda found: found[0])[1]  # the first of equals


def read(path: Path) -> list[FontFile]:
    """The fonts in a file; none if FreeType cannot read it."""
    from PIL import ImageFont

    fonts = []
    for index in count():
        try:
            family, style = ImageFont.truetype(path, 10, index=index).getname()
        except OSError:
            break
        fonts.append(FontFile(path, index, family or "", style or ""))
        if path.suffix.lower() not in COLLECTIONS:
            break
    return fonts


def _files(folder: Path) -> Iterator[Path]:
    for parent, below, names in os.walk(folder):
        below.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if path.suffix.lower() in SUFFIXES and path.is_file():
                yield path


def _rank(font: FontFile, name: str) -> tuple[int, bool, int] | None:
    """How well a font matches a name, lowest is best; None if it does not."""
    style = font.style.casefold()
    asked = _key(name)
    if asked == _key(font.family):
        return 0, style not in REGULAR, len(style)
    if asked == _key(f"{font.family} {font.style}"):
        return 1, False, 0
    if asked in (_key(font.path.stem), _key(font.path.name)):
        return 2, style not in REGULAR, font.index
    return None


def _key(name: str) -> str:
    """A name in the form used for comparison: fonts differ in blanks and hyphens."""
    return name.casefold().translate({ord(char): None for char in " -_"})
