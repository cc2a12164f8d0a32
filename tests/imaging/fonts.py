"""Fonts for the tests, made of the one that comes with Atelier."""

from __future__ import annotations

import struct

from atelier.imaging.coverage import BUNDLED_FONT

BUNDLED = BUNDLED_FONT.read_bytes()
FAMILY, STYLE = "DejaVu Sans", "Book"


def called(family: str, style: str = STYLE) -> bytes:
    """The bundled font under a family and a style of the same lengths."""
    assert (len(family), len(style)) == (len(FAMILY), len(STYLE))
    font = BUNDLED
    for before, after in ((FAMILY, family), (STYLE, style)):
        for encoding in ("utf-16-be", "latin-1"):
            font = font.replace(before.encode(encoding), after.encode(encoding))
    return font


def collection(*fonts: bytes) -> bytes:
    """A collection of these fonts, none of which shares a table."""
    head = 12 + 4 * len(fonts)
    starts = [head + sum(map(len, fonts[:number])) for number in range(len(fonts))]
    moved = bytearray()
    for font, start in zip(fonts, starts, strict=True):
        own = bytearray(font)
        for entry in range(12, 12 + 16 * struct.unpack_from(">H", font, 4)[0], 16):
            (offset,) = struct.unpack_from(">L", font, entry + 8)
            struct.pack_into(">L", own, entry + 8, offset + start)
        moved += own
    return struct.pack(f">4sLL{len(fonts)}L", b"ttcf", 0x00010000, len(fonts), *starts) + moved
