"""The texts of a book: normalised, on one line, without characters that no store can hold."""

from __future__ import annotations

import unicodedata

LIMIT = 300  # characters of a title or an author's name, after normalisation
RAW_LIMIT = (
    10_000  # characters beyond which a text is not normalised: it cannot become short enough
)
FORBIDDEN = ("Cc", "Cs")  # Unicode categories: controls, surrogates


def line(text: str) -> str:
    """`text` in NFC, every run of white space one blank.

    Raises ValueError for control characters.
    """
    if len(text) > RAW_LIMIT:
        return text
    words = " ".join(unicodedata.normalize("NFC", text).split())
    if any(unicodedata.category(character) in FORBIDDEN for character in words):
        raise ValueError("control characters are not allowed")
    return words


def folded(text: str) -> str:
    """The form that texts share if they differ only in case, composition and white space."""
    composed = unicodedata.normalize("NFC", " ".join(text.split()))
    return unicodedata.normalize("NFC", composed.casefold())
