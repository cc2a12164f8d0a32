"""The texts of a picture: normalised, bounded, without characters that no store can hold."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from atelier.wire.complaints import refused
from atelier.wire.texts import CONTROLS, LINE_LIMIT, has_controls

TAG_LIMIT = 100  # characters of one tag
TAGS_LIMIT = 50  # tags of one picture
LAYOUT = frozenset("\n\t")  # control characters that a description may hold


def title(text: str) -> str:
    """A title of 1..300 characters on one line."""
    return _bounded(" ".join(_clean(text, "title").split()), "title", 1, LINE_LIMIT)


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
        raise refused(f"At most {TAGS_LIMIT} tags", "body", "tags")
    return [_bounded(word, "tags", 1, TAG_LIMIT) for word in unique]


def _clean(text: str, field: str) -> str:
    text = unicodedata.normalize("NFC", text)
    if has_controls(text, LAYOUT):
        raise refused(CONTROLS, "body", field)
    return text


def _bounded(text: str, field: str, least: int, most: int) -> str:
    if not least <= len(text) <= most:
        raise refused(f"{least} to {most} characters, not {len(text)}", "body", field)
    return text
