"""Makes untrusted values fit for JSON in PostgreSQL: no NUL, no lone surrogate, bounded."""

from __future__ import annotations

NAME_CHARACTERS = 200  # of one string in a result


def clean(text: str, limit: int = NAME_CHARACTERS) -> str:
    """A text as one printable line of at most `limit` characters."""
    shown = "".join(c if c.isprintable() else " " for c in text[: 4 * limit]).strip()
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
