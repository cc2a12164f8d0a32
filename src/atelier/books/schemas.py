"""The shapes of book records and requests, as OpenAPI shows them.

The only place that validates them.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from atelier.books.texts import line
from atelier.http.strict import Kept
from atelier.wire.texts import LINE_LIMIT

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _line(value: object) -> object:
    return line(value) if isinstance(value, str) else value


def _date(value: object) -> object:
    """A date in the one form of RFC 3339; Python itself would accept others, and numbers."""
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise ValueError("a date is written YYYY-MM-DD")
    return date.fromisoformat(value)


Line = Annotated[str, BeforeValidator(_line), Field(min_length=1, max_length=LINE_LIMIT)]
PublicationDate = Annotated[date, BeforeValidator(_date)]

TITLE = Field(examples=["Война и мир"])
AUTHOR = Field(examples=["Лев Толстой"])
PUBLICATION_DATE = Field(description="From year 0001 on.", examples=["1869-01-01"])


class BookRecord(BaseModel):
    """A book of the catalogue."""

    id: int = Field(examples=[42])
    title: str = TITLE
    author: str = AUTHOR
    publication_date: date = PUBLICATION_DATE


class BookDetails(BaseModel):
    """All that is said of a book: what POST takes and PUT replaces."""

    model_config = ConfigDict(strict=True, extra="forbid")

    title: Line = TITLE
    author: Line = AUTHOR
    publication_date: PublicationDate = PUBLICATION_DATE


class BookChange(BaseModel):
    """What PATCH may change; a field left out stays."""

    model_config = ConfigDict(
        strict=True, extra="forbid", json_schema_extra={"examples": [{"title": "War and Peace"}]}
    )

    title: Kept[Line] = None
    author: Kept[Line] = None
    publication_date: Kept[PublicationDate] = None
