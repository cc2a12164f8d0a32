"""Lays out a caption: white text on a black field as wide as the picture, wrapped by words; draws no picture.

A field never widens the picture. Where a letter is wider than the field, the whole caption is set smaller until the
widest letter fits; below MIN_SIZE nothing is legible, and letters are cut off at the field's edge instead.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from atelier.errors import Invalid
from atelier.imaging.bidi import right_to_left
from atelier.imaging.typeface import JOINER, NON_JOINER, Extent, Typeface, clusters, plain, typeface

if TYPE_CHECKING:
    from collections.abc import Callable

    from atelier.imaging.pixels import Pixels

# Sizes in pixels; below four no letter can be told from another, beyond the largest one glyph is a picture of its own.
MIN_SIZE, MAX_SIZE = 4, 512
TAB_COLUMNS = 4
NEWLINES = re.compile("\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# Where a line may break: spaces that do not forbid it, and the space of no width.
BREAKS = re.compile("([ \u1680\u2000-\u2006\u2008-\u200a\u205f\u3000\u200b]+)")
KEPT_FORMATS = frozenset((JOINER, NON_JOINER, "\u200e", "\u200f", "\u061c", "\u200b"))


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it will be drawn."""

    text: str
    extent: Extent
    rtl: bool


def caption_field(text: str, width: int, size: int = 12, font: str | None = None) -> Pixels:
    """Draws a caption on a field of shape (height, width): 255 is white text, 0 the black around it.

    The height is that of the wrapped lines and the padding around them. `size` is in pixels, `font` the path of a font
    file or None for the bundled one.

    Raises:
        Invalid: the size is none, or the font cannot be loaded.
    """
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise Invalid(f"The size of a caption is {MIN_SIZE} to {MAX_SIZE} pixels, not {size}.", slug="bad-size")
    paragraphs = clean(text)
    face = _fitting(paragraphs, width, size, font)
    padding = _padding(width, face.size)
    lines = [line for paragraph in paragraphs for line in wrap(paragraph, face, width - 2 * padding)]
    heights = [_height(line, face) for line in lines]
    field = np.zeros((sum(above + below for above, below in heights) + 2 * padding, width), np.uint8)
    top = padding
    for line, (above, below) in zip(lines, heights, strict=True):
        left = width - padding - line.extent.width if line.rtl else padding
        face.draw(field, max(left, padding) - line.extent.left, top + above, line.text, rtl=line.rtl)
        top += above + below
    return field


def clean(text: str) -> list[str]:
    """Splits text into paragraphs of what can be drawn: NFC, tabs as spaces, no control or hidden characters."""
    text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode("utf-8"))
    return ["".join(filter(_drawable, line.expandtabs(TAB_COLUMNS))) for line in NEWLINES.split(text)]


def _drawable(char: str) -> bool:
    return plain(char) or char in KEPT_FORMATS or unicodedata.category(char) not in ("Cc", "Cf")


def wrap(paragraph: str, face: Typeface, width: int) -> list[Line]:
    """Breaks a paragraph into lines of at most `width` pixels, between words while that is possible."""
    rtl = right_to_left(paragraph)

    def measure(text: str) -> int:
        return face.extent(text, rtl=rtl).width

    lines: list[str] = []
    line = ""
    if measure(paragraph) <= width:
        return [Line(paragraph, face.extent(paragraph, rtl=rtl), rtl)]
    pieces = BREAKS.split(paragraph.rstrip())
    for gap, word in zip(["", *pieces[1::2]], pieces[::2], strict=True):
        longer = line + gap + word
        if measure(longer) <= width:
            line = longer
            continue
        if line.strip():
            lines.append(line)
        *full, line = _broken(word, measure, width)
        lines += full
    return [Line(text, face.extent(text, rtl=rtl), rtl) for text in (*lines, line)]


def _broken(word: str, measure: Callable[[str], int], width: int) -> list[str]:
    """Breaks a word that is longer than a line between its grapheme clusters; each line holds at least one."""
    lines = [""]
    for cluster in clusters(word):
        if lines[-1] and measure(lines[-1] + cluster) > width:
            lines.append("")
        lines[-1] += cluster
    return lines


def _fitting(paragraphs: list[str], width: int, size: int, font: str | None) -> Typeface:
    """The face at the wanted size, or at the largest one at which the widest letter fits the field."""
    while True:
        face = typeface(font, size)
        room = width - 2 * _padding(width, size)
        letters = {c for text in paragraphs for c in (text if all(map(plain, text)) else clusters(text))}
        widest = max((face.extent(letter).width for letter in letters), default=0)
        if widest <= room or size == MIN_SIZE:
            return face
        size = max(MIN_SIZE, min(size - 1, size * room // widest))


def _padding(width: int, size: int) -> int:
    """A third of the letters' size on every side, less where the picture is narrower than a few letters."""
    return min(max(2, size // 3), width // 8)


def _height(line: Line, face: Typeface) -> tuple[int, int]:
    """Pixels above and below the base line: the font's own, more where stacked marks need more."""
    return max(face.ascent, -line.extent.top), max(face.descent, line.extent.bottom)
