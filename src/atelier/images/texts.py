"""The texts of a picture, by the rules of all texts."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from atelier.wire import texts
from atelier.wire.complaints import accepted, refused
from atelier.wire.texts import LINE_LIMIT, RAW_FACTOR

TAG_LIMIT = 100  # characters of one tag
TAGS_LIMIT = 50  # tags of one picture
TAGS_RAW_LIMIT = TAGS_LIMIT * TAG_LIMIT * RAW_FACTOR  # characters of all of them as they came
LAYOUT = "\n\t"  # control characters that a description may hold


def title(text: str) -> str:
    """A title of 1..300 characters on one line."""
    return accepted(partial(texts.line, text, 1, LINE_LIMIT), "body", "title")


def description(text: str, limit: int) -> str:
    """A description of at most `limit` Unicode characters after NFC.

    Newlines are kept, written as LF.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return accepted(partial(texts.clean, lines, 0, limit, LAYOUT), "body", "description")


def tags(given: Iterable[str]) -> list[str]:
    """Tags in the order given, without repeats.

    Each text may hold several, separated by commas.
    """
    several = list(given)
    if sum(map(len, several)) > TAGS_RAW_LIMIT:
        raise refused(TOO_MANY, "body", "tags")
    parts = [part for text in several for part in text.split(",")]
    words = [
        accepted(partial(texts.line, part, 0, TAG_LIMIT), "body", "tags")
        for part in dict.fromkeys(parts)
    ]
    unique = list(dict.fromkeys(word for word in words if word))
    if len(unique) > TAGS_LIMIT:
        raise refused(TOO_MANY, "body", "tags")
    return unique


TOO_MANY = f"At most {TAGS_LIMIT} tags of {TAG_LIMIT} characters"
