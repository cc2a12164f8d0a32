"""Lays out a caption: white text on a black field as wide as the picture, wrapped by words.

A field never widens the picture. If a letter is wider than the field, the whole caption is set
smaller until the widest letter fits; below MIN_SIZE no letter is legible, so letters are cut off
at the field's edge instead.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from atelier.errors import Invalid
from atelier.imaging.characters import FORMATS, plain
from atelier.imaging.direction import Paragraph
from atelier.imaging.pixels import Pixels
from atelier.imaging.typeface import Extent, Typeface, clusters, typeface

# Sizes in pixels; below four no letter can be told from another, beyond the largest one glyph is a
# picture of its own.
MIN_SIZE, MAX_SIZE = 4, 512
TAB_COLUMNS = 4
NEWLINES = re.compile("\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# Line break opportunities: breaking spaces and the zero-width space.
BREAKS = re.compile("[ \u1680\u2000-\u2006\u2008-\u200a\u205f\u3000\u200b]+")
Span = tuple[int, int]  # of characters of a paragraph: the first, and the one after the last


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it will be drawn."""

    text: str
    extent: Extent
    rtl: bool


def caption_field(
    text: str,
    width: int,
    size: int = 12,
    font: str | None = None,
    index: int = 0,
) -> Pixels:
    """Draws a caption on a field of shape (height, width): text is 255, the background 0.

    The height is that of the wrapped lines and the padding around them. `size` is in pixels,
    `font` the path of a font file or None for the bundled one, `index` the place of the font in a
    collection.

    Raises:
        Invalid: the size is out of range, or the font cannot be loaded.
    """
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise Invalid(
            f"The size of a caption is {MIN_SIZE} to {MAX_SIZE} pixels, not {size}.",
            slug="bad-size",
        )
    paragraphs = clean(text)
    face = _fitting(paragraphs, width, size, partial(typeface, font, index=index))
    padding = _padding(width, face.size)
    lines = [
        line for paragraph in paragraphs for line in wrap(paragraph, face, width - 2 * padding)
    ]
    heights = [_height(line, face) for line in lines]
    field = np.zeros(
        (sum(above + below for above, below in heights) + 2 * padding, width), np.uint8
    )
    top = padding
    for line, (above, below) in zip(lines, heights, strict=True):
        left = width - padding - line.extent.width if line.rtl else padding
        face.draw(
            field, max(left, padding) - line.extent.left, top + above, line.text, rtl=line.rtl
        )
        top += above + below
    return field


def clean(text: str) -> list[str]:
    """Splits text into paragraphs of NFC, with tabs as spaces and no hidden characters."""
    text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode("utf-8"))
    return [
        "".join(filter(_drawable, line.expandtabs(TAB_COLUMNS))) for line in NEWLINES.split(text)
    ]


def _drawable(char: str) -> bool:
    return plain(char) or char in FORMATS or unicodedata.category(char) not in ("Cc", "Cf")


def wrap(paragraph: str, face: Typeface, width: int) -> list[Line]:
    """Breaks a paragraph into lines of at most `width` pixels, between words where possible."""
    whole = Paragraph(paragraph)

    def line(start: int, end: int) -> Line:
        text = whole.line(start, end)
        return Line(text, face.extent(text, rtl=whole.rtl), whole.rtl)

    def fits(start: int, end: int) -> bool:
        return line(start, end).extent.width <= width

    if fits(0, len(paragraph)):
        return [line(0, len(paragraph))]
    lines: list[Span] = []
    start = end = 0
    for first, last in _words(paragraph.rstrip()):
        if fits(start, last):
            end = last
            continue
        if paragraph[start:end].strip():
            lines.append((start, end))
        *full, (start, end) = _broken(paragraph, first, last, fits)
        lines += full
    return [line(*span) for span in (*lines, (start, end))]


def _words(text: str) -> Iterator[Span]:
    """The start and end of each word; the first is empty if the text begins with a space."""
    start = 0
    for gap in BREAKS.finditer(text):
        yield start, gap.start()
        start = gap.end()
    yield start, len(text)


def _broken(text: str, start: int, end: int, fits: Callable[[int, int], bool]) -> list[Span]:
    """Breaks a word longer than a line between grapheme clusters, at least one to a line."""
    lines = [(start, start)]
    for cluster in clusters(text[start:end]):
        first, last = lines[-1]
        if first != last and not fits(first, last + len(cluster)):
            first = last
            lines.append((first, last))
        lines[-1] = (first, last + len(cluster))
    return lines


def _fitting(
    paragraphs: list[str],
    width: int,
    size: int,
    load: Callable[[int], Typeface],
) -> Typeface:
    """The face at the wanted size, or at the largest one at which the widest letter fits."""
    while True:
        face = load(size)
        room = width - 2 * _padding(width, size)
        letters = {
            c for text in paragraphs for c in (text if all(map(plain, text)) else clusters(text))
        }
        widest = max((face.extent(letter).width for letter in letters), default=0)
        if widest <= room or size == MIN_SIZE:
            return face
        # Width is nearly linear in size, so one division lands near the answer; `size - 1` makes
        # every round smaller, so the loop ends.
        size = max(MIN_SIZE, min(size - 1, size * room // widest))


def _padding(width: int, size: int) -> int:
    """A third of the letters' size on every side, less if the picture is very narrow."""
    return min(max(2, size // 3), width // 8)


def _height(line: Line, face: Typeface) -> tuple[int, int]:
    """Pixels above and below the base line: the font's own, more if stacked marks need more."""
    return max(face.ascent, -line.extent.top), max(face.descent, line.extent.bottom)
