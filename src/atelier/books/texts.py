"""The texts of a book: normalised, on one line, without characters that no store can hold."""

from __future__ import annotations

import unicodedata

from atelier.wire.texts import CONTROLS, RAW_LIMIT, has_controls


def line(text: str) -> str:
    """`text` in NFC, every run of white space one blank.

    Raises ValueError for control characters.
    """
    if len(text) > RAW_LIMIT:
        return text
    words = " ".join(unicodedata.normalize("NFC", text).split())
    if has_controls(words):
        raise ValueError(CONTROLS)
    return words


def folded(text: str) -> str:
    """The form that texts share if they differ only in case, composition and white space."""
    composed = unicodedata.normalize("NFC", " ".join(text.split()))
    return unicodedata.normalize("NFC", composed.casefold())
