"""Measures and draws single lines of text in one font at one size.

Knows nothing of paragraphs or pictures. Most captions consist of letters that neither join nor
combine: their glyphs are drawn once and kept as cells. Other text (right-to-left, combining marks,
Indic scripts) goes to raqm, which Pillow has if it finds libfribidi. Without that library all text
is drawn as cells, from left to right.
"""

from __future__ import annotations

import io
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from atelier.errors import Invalid
from atelier.imaging.characters import FORMATS, JOINER, NON_JOINER, plain
from atelier.imaging.coverage import BUNDLED_FONT
from atelier.imaging.shaping import shapes

# Glyph cells kept per font and size; a caption in Chinese may need hundreds of new ones.
MAX_CELLS = 2_000


@dataclass(frozen=True, slots=True)
class Extent:
    """The extent of a line's ink and advance, in pixels from its origin on the base line.

    Y grows downwards.
    """

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Pixels from the leftmost to the rightmost."""
        return self.right - self.left


@dataclass(frozen=True, slots=True)
class Cell:
    """A glyph: its ink, the ink's offset from the origin, and the advance."""

    ink: NDArray[np.uint8]
    left: int
    top: int
    advance: int


class Typeface:
    """A font at a size in pixels; `index` is its place in a collection."""

    def __init__(self, data: bytes, size: int, index: int = 0) -> None:
        self.basic = _loaded(data, size, index, ImageFont.Layout.BASIC)
        self.shaped = _loaded(data, size, index, ImageFont.Layout.RAQM) if shapes() else None
        self.size = size
        self.ascent, self.descent = self.basic.getmetrics()
        self._cells: dict[str, Cell] = {}

    def extent(self, text: str, *, rtl: bool = False) -> Extent:
        """Measures one line as `draw` will draw it; `rtl` is its paragraph's direction."""
        if self.shaped and _needs_layout(text, rtl=rtl):
            return _shaped_extent(text, self.shaped, _direction(rtl=rtl))
        left = top = right = bottom = pen = 0
        for char in text:
            cell = self.cell(char)
            rows, columns = cell.ink.shape
            left, top = min(left, pen + cell.left), min(top, cell.top)
            pen_right = pen + cell.left + columns
            pen += cell.advance
            right, bottom = max(right, pen, pen_right), max(bottom, cell.top + rows)
        return Extent(left, top, right, bottom)

    def draw(
        self, field: NDArray[np.uint8], x: int, y: int, text: str, *, rtl: bool = False
    ) -> None:
        """Draws one line with its origin at (x, y); parts outside the field are cut off."""
        if self.shaped and _needs_layout(text, rtl=rtl):
            _draw_shaped(field, x, y, text, self.shaped, _direction(rtl=rtl))
            return
        for char in text:
            cell = self.cell(char)
            _stamp(field, cell.ink, x + cell.left, y + cell.top)
            x += cell.advance

    def cell(self, char: str) -> Cell:
        """A glyph, drawn at most once."""
        cell = self._cells.get(char)
        if cell is None:
            if len(self._cells) >= MAX_CELLS:
                self._cells.clear()
            cell = self._cells[char] = self._draw_cell(char)
        return cell

    def _draw_cell(self, char: str) -> Cell:
        if char in FORMATS:  # only for a layout engine: the font may have a box for it
            return Cell(np.zeros((0, 0), np.uint8), 0, 0, 0)
        left, top, right, bottom = (int(side) for side in self.basic.getbbox(char, anchor="ls"))
        image = Image.new("L", (max(0, right - left), max(0, bottom - top)))
        ImageDraw.Draw(image).text((-left, -top), char, font=self.basic, fill=255, anchor="ls")
        ink = np.asarray(image).copy()
        return Cell(ink, left, top, round(self.basic.getlength(char)))


def _needs_layout(text: str, *, rtl: bool) -> bool:
    # Latin words and numbers of a right-to-left paragraph change places, too.
    return rtl or not all(map(plain, text))


def _direction(*, rtl: bool) -> str:
    return "rtl" if rtl else "ltr"


def _loaded(
    data: bytes,
    size: int,
    index: int,
    layout: ImageFont.Layout,
) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(io.BytesIO(data), size, index=index, layout_engine=layout)


def _shaped_extent(text: str, font: ImageFont.FreeTypeFont, direction: str) -> Extent:
    left, top, right, bottom = font.getbbox(text, anchor="ls", direction=direction)
    advance = font.getlength(text, direction=direction)
    return Extent(min(0, int(left)), int(top), max(int(right), int(advance + 0.999)), int(bottom))


def _draw_shaped(
    field: NDArray[np.uint8],
    x: int,
    y: int,
    text: str,
    font: ImageFont.FreeTypeFont,
    direction: str,
) -> None:
    image = Image.fromarray(field)
    pen = ImageDraw.Draw(image)
    pen.text((x, y), text, font=font, fill=255, anchor="ls", direction=direction)
    field[:] = np.asarray(image)


def _stamp(field: NDArray[np.uint8], ink: NDArray[np.uint8], x: int, y: int) -> None:
    """Lays ink on a field, keeping the brighter pixel where glyphs overlap."""
    rows, columns = ink.shape
    height, width = field.shape
    if x < 0 or y < 0 or x + columns > width or y + rows > height:
        ink = ink[max(0, -y) : max(0, height - y), max(0, -x) : max(0, width - x)]
        x, y = max(0, x), max(0, y)
        rows, columns = ink.shape
    part = field[y : y + rows, x : x + columns]
    np.maximum(part, ink, out=part)


@lru_cache(maxsize=8)
def _font_bytes(path: str | None) -> bytes:
    try:
        return (Path(path) if path else BUNDLED_FONT).read_bytes()
    except OSError as error:
        raise Invalid(
            f"The font of the caption cannot be read: {error.strerror}.", slug="bad-font"
        ) from error


@lru_cache(maxsize=32)
def typeface(path: str | None, size: int, index: int = 0) -> Typeface:
    """Loads a font; None is the bundled one.

    Raises:
        Invalid: no such file, or no font in it.
    """
    try:
        return Typeface(_font_bytes(path), size, index)
    except OSError as error:
        raise Invalid(
            "The font of the caption is not one that FreeType reads.", slug="bad-font"
        ) from error


def require_typeface(path: Path, size: int, index: int = 0) -> None:
    """Raises Invalid if captions cannot be set in this font at this size."""
    if not path.is_file():  # reading a pipe or a device might never end
        raise Invalid(
            "there is no such file" if not path.exists() else "it is not a file", slug="bad-font"
        )
    try:
        face = Typeface(path.read_bytes(), size, index)
    except OSError as error:
        reason = error.strerror or "it is not a font that FreeType reads"
        raise Invalid(f"{reason[0].lower()}{reason[1:]}", slug="bad-font") from error
    face.extent("Aя")


def clusters(text: str) -> list[str]:
    """Splits text into grapheme clusters (UAX #29): marks, joiners and flags stay together."""
    found: list[str] = []
    for char in text:
        if found and _extends(found[-1], char):
            found[-1] += char
        else:
            found.append(char)
    return found


FLAG_LETTERS = range(0x1F1E6, 0x1F200)
SKIN_TONES = range(0x1F3FB, 0x1F400)
HANGUL_MEDIALS_AND_FINALS = range(0x1160, 0x1200)


def _extends(cluster: str, char: str) -> bool:
    code = ord(char)
    if code < 0x300:
        return False
    if char in (JOINER, NON_JOINER) or cluster[-1] == JOINER:
        return True
    if code in FLAG_LETTERS:
        return len(cluster) == 1 and ord(cluster) in FLAG_LETTERS
    extending = code in SKIN_TONES or code in HANGUL_MEDIALS_AND_FINALS
    return extending or unicodedata.category(char) in ("Mn", "Me", "Mc")
