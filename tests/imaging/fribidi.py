"""FriBidi itself, by its C interface: what the Unicode Bidirectional Algorithm makes of a line."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

# FriBidiParType of a paragraph whose direction is known.
LEFT_TO_RIGHT, RIGHT_TO_LEFT = 0x110, 0x111


@cache
def library() -> Any:
    """The library that Pillow opens too. Raises OSError where there is none."""
    return ctypes.CDLL("libfribidi.dylib" if sys.platform == "darwin" else "libfribidi.so.0")


def visual(paragraph: str, start: int, end: int, *, rtl: bool) -> str:
    """The characters of a line in the order in which they stand, levels being the paragraph's."""
    fribidi, count = library(), len(paragraph)
    text = (ctypes.c_uint32 * count)(*map(ord, paragraph))
    types, brackets = (ctypes.c_uint32 * count)(), (ctypes.c_uint32 * count)()
    levels = (ctypes.c_int8 * count)()
    base = ctypes.c_uint32(RIGHT_TO_LEFT if rtl else LEFT_TO_RIGHT)
    fribidi.fribidi_get_bidi_types(text, count, types)
    fribidi.fribidi_get_bracket_types(text, count, types, brackets)
    embed = fribidi.fribidi_get_par_embedding_levels_ex
    assert embed(types, brackets, count, ctypes.byref(base), levels)
    places = (ctypes.c_int * count)(*range(count))
    assert fribidi.fribidi_reorder_line(0, types, end - start, start, base, levels, None, places)
    return "".join(paragraph[place] for place in places[start:end])
