"""Characters for which a font has a glyph, compared with what is drawn."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from PIL import ImageFont

from atelier.imaging.coverage import BUNDLED_FONT, Coverage, coverage
from tests.imaging.fonts import collection

if TYPE_CHECKING:
    from collections.abc import Callable

FONT = BUNDLED_FONT.read_bytes()
BASIC_PLANE = range(0x20, 0x10000, 7)


def without_whole_tables(font: bytes) -> bytes:
    """The font without its full-Unicode tables, so that those of the basic plane are read."""
    changed = bytearray(font)
    at = next(
        struct.unpack_from(">L", font, entry + 8)[0]
        for entry in range(12, 1000, 16)
        if font[entry : entry + 4] == b"cmap"
    )
    for record in range(at + 4, at + 4 + 8 * struct.unpack_from(">H", font, at + 2)[0], 8):
        if struct.unpack_from(">HH", font, record) in ((3, 10), (0, 6), (0, 4)):
            struct.pack_into(">H", changed, record, 9)
    return bytes(changed)


def test_what_is_lacking_is_drawn_as_the_box() -> None:
    """The font has a character, or Pillow draws its box for missing ones: a seventh is tried."""
    face = ImageFont.truetype(BUNDLED_FONT, 64, layout_engine=ImageFont.Layout.BASIC)

    def ink(char: str) -> tuple[tuple[int, int], bytes]:
        mask = face.getmask(char)
        return mask.size, bytes(mask)

    box, found = ink("\ue123"), coverage(None)
    characters = [chr(code) for code in BASIC_PLANE if not 0xD800 <= code < 0xE000]
    assert [char for char in characters if found.has(char) == (ink(char) == box)] == []


@pytest.mark.parametrize("change", [without_whole_tables, collection])
def test_every_form_of_a_font_says_the_same(change: Callable[[bytes], bytes]) -> None:
    """Segments say what groups say, and a collection what its font says."""
    whole, changed = Coverage(FONT), Coverage(change(FONT))
    assert change(FONT) != FONT
    assert [whole.has(chr(code)) for code in BASIC_PLANE] == [
        changed.has(chr(code)) for code in BASIC_PLANE
    ]


@pytest.mark.parametrize(
    ("text", "lacking"),
    [
        ("С начала фазы: 7 секунд", ""),
        ("שלום, سلام, Γειά, გამარჯობა", ""),
        ("明朝 vase 明 🏺", "明朝🏺"),
        ("line\nline\r\tx\u200d\u200bx\ufe0f\U000e0101", ""),
        ("", ""),
    ],
)
def test_characters_that_the_bundled_font_lacks(text: str, lacking: str) -> None:
    """Each once, in the text's order; what is never drawn by itself does not count."""
    assert coverage(None).lacking(text) == list(lacking)


@pytest.mark.parametrize("size", [0, 4, 11, 100, 1000, 20_000])
def test_a_font_that_cannot_be_read_lacks_nothing(size: int) -> None:
    """Another format, or half a file: nothing is known, and nothing is said."""
    assert Coverage(FONT[:size]).lacking("明") == []
    assert Coverage(b"wOFF" + FONT[4:][:size]).lacking("明") == []
