"""Searches for texts: patterns for LIKE and ILIKE, and what searches of all edges may take.

They may read whole tables, so they have connections of their own, on which they hold up no other
reads; a person has some of them, and each search ends after a time.
"""

from __future__ import annotations

from atelier.errors import Unavailable
from atelier.wire.problems import RETRY_SECONDS

SEARCHES = 4  # at once in one process
SEARCHES_OF_PERSON = 2
SEARCH_TIMEOUT_MS = 3_000
SEARCH_WAIT_SECONDS = 5  # for a connection
SEARCH_LIMIT = 200  # characters of `q`
_SPECIAL = str.maketrans({"\\": r"\\", "%": r"\%", "_": r"\_"})


class TooSlow(Unavailable):
    """This search takes too long."""

    slug = "search-too-slow"


def too_slow() -> TooSlow:
    """The answer to a search that was ended."""
    sentence = "This search takes too long. Search for a longer or a rarer text."
    return TooSlow(sentence, retry_after=RETRY_SECONDS)


def too_many() -> TooSlow:
    """The answer to a search for which there was no connection in time."""
    return TooSlow("Too many are searching.", retry_after=RETRY_SECONDS)


def containing(text: str) -> str:
    """The pattern of what contains a text, whose signs mean themselves."""
    return f"%{beginning(text)}"


def beginning(text: str) -> str:
    """The pattern of what begins with a text, whose signs mean themselves."""
    return f"{text.translate(_SPECIAL)}%"
