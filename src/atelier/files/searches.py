"""Searches on Django's connection, by the rules of all searches: some at once, and with an end."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from functools import partial

from django.db import OperationalError, connection, transaction

from atelier.wire.complaints import accepted
from atelier.wire.places import Places
from atelier.wire.searches import (
    SEARCH_LIMIT,
    SEARCH_TIMEOUT_MS,
    SEARCHES,
    SEARCHES_OF_PERSON,
    too_slow,
)
from atelier.wire.texts import composed

PARAMETER = "q"
_CANCELLED = "57014"  # the SQLSTATE of a statement that ran into its time limit
_places = Places("searches", each=SEARCHES_OF_PERSON, total=SEARCHES)


def read(given: str | None) -> str | None:
    """The text of `q`, normalised. Raises Invalid."""
    if given is None:
        return None
    return accepted(partial(composed, given, SEARCH_LIMIT), "query", PARAMETER)


@contextmanager
def searching(person: Hashable) -> Iterator[None]:
    """A transaction whose statements may read a whole table, on behalf of a person.

    Raises TooManyRequests for one too many, and TooSlow.
    """
    with _places.place(person):
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute(f"SET LOCAL statement_timeout = {SEARCH_TIMEOUT_MS}")
                yield
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", None) == _CANCELLED:
                raise too_slow() from error
            raise
