"""The words people give to a picture: normalised and bounded.

They are free of characters that no store or screen can hold.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from atelier.errors import Invalid

TITLE_LIMIT = 300  # characters
TAG_LIMIT = 100  # characters of one tag
TAGS_LIMIT = 50  # tags of one picture
LAYOUT = frozenset("\n\t")  # control characters that a description may hold


def title(text: str) -> str:
    """A title of 1..300 characters on one line."""
    return _bounded(" ".join(_clean(text, "title").split()), "title", 1, TITLE_LIMIT)


def description(text: str, limit: int) -> str:
    """A description of at most `limit` Unicode characters after NFC.

    Newlines are kept, written as LF.
    """
    return _bounded(
        _clean(text.replace("\r\n", "\n").replace("\r", "\n"), "description"),
        "description",
        0,
        limit,
    )


def tags(texts: Iterable[str]) -> list[str]:
    """Tags in the order given, without repeats.

    Each text may hold several, separated by commas.
    """
    words = [" ".join(_clean(part, "tags").split()) for text in texts for part in text.split(",")]
    unique = list(dict.fromkeys(word for word in words if word))
    if len(unique) > TAGS_LIMIT:
        raise Invalid.at("body", "tags", message=f"At most {TAGS_LIMIT} tags")
    return [_bounded(word, "tags", 1, TAG_LIMIT) for word in unique]


def _clean(text: str, field: str) -> str:
    text = unicodedata.normalize("NFC", text)
    if any(
        unicodedata.category(character) in ("Cc", "Cs") and character not in LAYOUT
        for character in text
    ):
        raise Invalid.at("body", field, message="Control characters are not allowed")
    return text


def _bounded(text: str, field: str, least: int, most: int) -> str:
    if not least <= len(text) <= most:
        raise Invalid.at("body", field, message=f"{least} to {most} characters, not {len(text)}")
    return text
