"""Tells characters that stand alone in a line from those that need their neighbours.

Knows no font and loads no decoder.
"""

from __future__ import annotations

import unicodedata
from functools import cache

JOINER, NON_JOINER = "\u200d", "\u200c"
# Format characters that a layout engine reads and never draws: joiners, direction marks, the
# zero-width space.
FORMATS = frozenset((JOINER, NON_JOINER, "\u200e", "\u200f", "\u061c", "\u200b"))
SOFT_HYPHEN = "\xad"
# Scripts in which every letter stands alone: (first, last) code points.
PLAIN_SCRIPTS = (
    (0x0020, 0x007E),
    (0x00A0, 0x02FF),
    (0x0370, 0x0482),
    (0x048A, 0x058F),
    (0x10A0, 0x10FF),
    (0x1E00, 0x1FFF),
    (0x2010, 0x2027),
    (0x202F, 0x205E),
    (0x2070, 0x20CF),
    (0x2100, 0x2BFF),
    (0x2E80, 0x3029),
    (0x3030, 0x3098),
    (0x309B, 0xA4CF),
    (0xAC00, 0xD7A3),
    (0xF900, 0xFAFF),
    (0xFF01, 0xFFEF),
    (0x1F300, 0x1F3FA),
    (0x1F400, 0x1FAFF),
    (0x20000, 0x3FFFF),
)
VARIATION_SELECTORS = range(0xFE00, 0xFE10)


@cache
def plain(char: str) -> bool:
    """True if a character can be drawn without looking at its neighbours."""
    code = ord(char)
    return char != SOFT_HYPHEN and any(first <= code <= last for first, last in PLAIN_SCRIPTS)


def needs_shaping(text: str) -> bool:
    """True if letters or marks of a text join, combine, change places or run right to left."""
    return any(
        not plain(char)
        and unicodedata.category(char)[0] in "LM"
        and ord(char) not in VARIATION_SELECTORS
        for char in text
    )
