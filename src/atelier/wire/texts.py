"""Texts that people give: normalised, and free of characters that no store or screen can hold."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection

LINE_LIMIT = 300  # characters of a title or a name, after normalisation
RAW_LIMIT = 10_000  # characters beyond which a text is not normalised: it cannot get short enough
CONTROLS = "Control characters are not allowed"
_FORBIDDEN = ("Cc", "Cs")  # Unicode categories: controls, surrogates


def has_controls(text: str, allowed: Collection[str] = ()) -> bool:
    """Whether a text holds control characters or surrogates other than those allowed."""
    return any(
        unicodedata.category(character) in _FORBIDDEN and character not in allowed
        for character in text
    )
