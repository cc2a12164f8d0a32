"""The query parameters by which pictures are chosen: the same for lists, counts and exports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Annotated

from fastapi import Depends, Query
from pydantic import Field

from atelier.auth import Principal, Right, in_space
from atelier.http.spaces import Space
from atelier.http.strict import Moment, normal
from atelier.images import texts
from atelier.images.listing import Date, Filters, Sort
from atelier.images.schemas import Status
from atelier.images.service import EXTENSIONS
from atelier.wire.searches import SEARCH_LIMIT

TAGS_MOST = 10  # of one list: each is looked up
Format = StrEnum("Format", {name: name for name in EXTENSIONS})  # type: ignore[misc] # of a dict

Of = Callable[[Principal], Filters]
Tag = Annotated[str, normal(texts.TAG_LIMIT), Field(max_length=texts.TAG_LIMIT)]
StatusFilter = Annotated[Status | None, Query(description="Only images of this status.")]
TagFilter = Annotated[
    Annotated[list[Tag], Field(max_length=TAGS_MOST)] | None,
    Query(description="Only images with this tag; repeated: with all of them."),
]
Search = Annotated[
    Annotated[str, normal(SEARCH_LIMIT), Field(max_length=SEARCH_LIMIT)] | None,
    Query(description="Only images with this in title or description."),
]
FormatFilter = Annotated[
    Format | None, Query(description="Only images whose original has this format.")
]
DateFilter = Annotated[
    Date,
    Query(
        description="Which date counts for `from`, `to` and `sort`. An image whose file does not "
        "say when it was taken counts as taken when it was uploaded."
    ),
]
From = Annotated[
    Moment | None, Query(alias="from", description="Only images of this time or later.")
]
To = Annotated[Moment | None, Query(alias="to", description="Only images of before this time.")]
SortBy = Annotated[Sort, Query(description="By their date.")]


async def narrowed(
    space: Space = None,
    status: StatusFilter = None,
    tag: TagFilter = None,
    q: Search = None,
    date: DateFilter = Date.UPLOADED,
    since: From = None,
    until: To = None,
) -> Of:
    """The filters of a request once it is known who asks, without those of `asked`.

    That raises NotFound for a space that the principal is not in, and NotAllowed.
    """

    def of(user: Principal) -> Filters:
        return Filters(
            space_id=in_space(user, space, Right.IMAGES_READ),
            status=status,
            tags=tuple(dict.fromkeys(tag or ())),
            q=q,
            date=date,
            since=since,
            until=until,
        )

    return of


Narrowed = Annotated[Of, Depends(narrowed)]


async def asked(
    narrow: Narrowed,
    format: FormatFilter = None,  # noqa: A002 - the parameter's name
    sort: SortBy = Sort.NEWEST,
) -> Of:
    """What a request's parameters ask for, in an order."""
    return lambda user: replace(narrow(user), format=format, sort=sort)


Wanted = Annotated[Of, Depends(asked)]
