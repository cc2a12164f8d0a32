"""Characters for which a font has a glyph, read from its `cmap` table.

Reads formats 4, 12 and 13 of OpenType 1.9.1.

Needs no decoder, so that a process that draws nothing can tell which characters become boxes.
"""

from __future__ import annotations

import struct
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

BUNDLED_FONT = Path(__file__).with_name("fonts") / "DejaVuSans.ttf"
# Categories that are never drawn by themselves: controls, format characters, surrogates, line
# ends; and the variation selectors.
UNDRAWN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
SELECTORS = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))
# (platform, encoding) of the tables of all of Unicode, then of its first 65,536 characters.
WHOLE, BASIC = ((3, 10), (0, 6), (0, 4)), ((3, 1), (0, 3), (0, 2), (0, 1), (0, 0))


class Coverage:
    """The characters of one font; a font without a readable table counts as complete."""

    def __init__(self, font: bytes, index: int = 0) -> None:
        try:
            self._ranges = sorted(_ranges(font, index), key=lambda found: found.start)
        except (struct.error, IndexError):
            self._ranges = []
        self._starts = [found.start for found in self._ranges]

    def has(self, char: str) -> bool:
        """True if the font has a glyph for a character."""
        place = bisect_right(self._starts, ord(char)) - 1
        return place >= 0 and ord(char) in self._ranges[place]

    def lacking(self, text: str) -> list[str]:
        """The characters of a text that will be drawn as boxes, each once."""
        if not self._ranges:
            return []
        return [char for char in dict.fromkeys(text) if _drawn(char) and not self.has(char)]


def coverage(path: Path | None, index: int = 0) -> Coverage:
    """The coverage of a font file, or of one font in a collection; None is the bundled font.

    Raises OSError.
    """
    return Coverage((path or BUNDLED_FONT).read_bytes(), index)


def _drawn(char: str) -> bool:
    return unicodedata.category(char) not in UNDRAWN and not any(
        ord(char) in selectors for selectors in SELECTORS
    )


def _ranges(font: bytes, index: int) -> Iterator[range]:
    at = _table(font, index)
    (count,) = struct.unpack_from(">H", font, at + 2)
    records = [struct.unpack_from(">HHL", font, at + 4 + 8 * number) for number in range(count)]
    offsets = {(platform, encoding): at + offset for platform, encoding, offset in records}
    for known in (*WHOLE, *BASIC):
        if known in offsets:
            (form,) = struct.unpack_from(">H", font, offsets[known])
            if form in FORMATS:
                return FORMATS[form](font, offsets[known])
    return iter(())


def _table(font: bytes, index: int) -> int:
    """The offset of the `cmap` table of a font, or of one font in a collection."""
    head = struct.unpack_from(">L", font, 12 + 4 * index)[0] if font[:4] == b"ttcf" else 0
    (count,) = struct.unpack_from(">H", font, head + 4)
    tables = (
        struct.unpack_from(">4s4xL", font, head + 12 + 16 * number) for number in range(count)
    )
    return next((int(offset) for tag, offset in tables if tag == b"cmap"), len(font))


def _segments(font: bytes, at: int) -> Iterator[range]:
    """Format 4: parallel arrays of segment ends, starts, deltas and offsets.

    An offset leads to glyph numbers and counts from its own place in the file.
    """
    (twice,) = struct.unpack_from(">H", font, at + 6)
    count, ends = twice // 2, at + 14
    for number in range(count):
        place = ends + 2 * number
        end, start, delta, offset = (
            struct.unpack_from(">H", font, place + skip)[0]
            for skip in (0, twice + 2, 2 * twice + 2, 3 * twice + 2)
        )
        glyphs = place + 3 * twice + 2 + offset
        for code in range(start, end + 1):
            raw = (
                struct.unpack_from(">H", font, glyphs + 2 * (code - start))[0] if offset else code
            )
            # Number 0 is the box for missing characters, before or after the delta is added.
            if (raw or not offset) and (raw + delta) & 0xFFFF:
                yield range(code, code + 1)


def _groups(font: bytes, at: int) -> Iterator[range]:
    """Formats 12 and 13: groups of characters by first and last."""
    (count,) = struct.unpack_from(">L", font, at + 12)
    for number in range(count):
        first, last, glyph = struct.unpack_from(">LLL", font, at + 16 + 12 * number)
        # A group that begins with number 0 maps its first character to the box.
        yield range(first if glyph else first + 1, last + 1)


FORMATS = {4: _segments, 12: _groups, 13: _groups}
