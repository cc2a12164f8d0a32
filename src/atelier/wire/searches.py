"""Patterns for LIKE and ILIKE of what people search for."""

from __future__ import annotations

_SPECIAL = str.maketrans({"\\": r"\\", "%": r"\%", "_": r"\_"})


def containing(text: str) -> str:
    """The pattern of what contains a text, whose signs mean themselves."""
    return f"%{text.translate(_SPECIAL)}%"
