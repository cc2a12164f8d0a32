"""The shapes of book records and requests, as OpenAPI shows them.

The only place that validates them.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from atelier.books import dates
from atelier.books.texts import line
from atelier.http.strict import Kept
from atelier.wire.texts import LINE_LIMIT


def _line(value: object) -> object:
    return line(value) if isinstance(value, str) else value


def _date(text: str) -> str:
    dates.parse(text)
    return text


Line = Annotated[str, BeforeValidator(_line), Field(min_length=1, max_length=LINE_LIMIT)]
PublicationDate = Annotated[
    str,
    AfterValidator(_date),
    Field(json_schema_extra={"pattern": dates.PATTERN, "maxLength": dates.LENGTH}),
]  # the form is said, and judged with the date, in one sentence

TITLE = Field(examples=["Война и мир"])
AUTHOR = Field(examples=["Лев Толстой"])
PUBLICATION_DATE = Field(
    description="A day, or only the month or the year that is known; from year 0001 on.",
    examples=["1869-01-01", "1869-05", "1869"],
)


class BookRecord(BaseModel):
    """A book of the catalogue."""

    id: int = Field(examples=[42])
    title: str = TITLE
    author: str = AUTHOR
    publication_date: PublicationDate = PUBLICATION_DATE


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
