"""The texts of a book, by the rules of all texts."""

from __future__ import annotations

from atelier.wire import texts
from atelier.wire.texts import LINE_LIMIT


def line(text: str) -> str:
    """`text` in NFC, every run of white space one blank. Raises ValueError."""
    return texts.line(text, 1, LINE_LIMIT)


def folded(text: str) -> str:
    """The form that texts share if they differ only in case, composition and white space."""
    return texts.folded(text, LINE_LIMIT)
