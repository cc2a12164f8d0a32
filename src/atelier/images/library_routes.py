"""The library of a space over HTTP: its tags, its index, how many pictures filters find."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from atelier.auth import Right, in_space
from atelier.http.json import json_response
from atelier.http.packed import packed_response
from atelier.http.paging import Cursor
from atelier.http.problems import responses
from atelier.http.resources import Res
from atelier.http.spaces import Space
from atelier.http.strict import Decimal
from atelier.images import queries
from atelier.images.columns import MOST, grid
from atelier.images.columns import read as read_columns
from atelier.images.filtering import Tag, Wanted
from atelier.images.library_schemas import TAGS_MOST, Counted, Index, TagCount
from atelier.images.routes import LISTED, NAME, Viewer
from atelier.wire.paging import keyset
from atelier.wire.preconditions import SAME, UNLESS_SAME

router = APIRouter(tags=["images"])
Rendition = Annotated[
    Annotated[str, Field(pattern=NAME, max_length=50)] | None,
    Query(description="Whose versions; left out: one that fills a tile.", examples=["500x500"]),
]
IndexLimit = Annotated[int, Field(ge=1, le=MOST), Decimal, Query(description="Pictures at most.")]
TagLimit = Annotated[int, Field(ge=1, le=TAGS_MOST), Decimal, Query(description="Tags at most.")]


@router.get(
    "/api/tags", response_model=list[TagCount], responses=responses(401, 404, 422, 429, 503)
)
async def tags(
    user: Viewer,
    res: Res,
    space: Space = None,
    q: Annotated[Tag, Query(description="Only tags that begin with this.")] = "",
    limit: TagLimit = TAGS_MOST,
) -> Response:
    """List the tags of a space.

    With how many pictures have each, the most frequent first.
    """
    space_id = in_space(user, space, Right.IMAGES_READ)
    found = await queries.tags(
        res.database, user_id=user.user_id, space_id=space_id, prefix=q, limit=limit
    )
    return json_response(found)


@router.get("/api/images/count", response_model=Counted, responses=LISTED)
async def count(user: Viewer, res: Res, wanted: Wanted) -> Response:
    """Count the pictures that filters find.

    Up to a number; `exact` is false where there are more.
    """
    number, exact = await queries.count(res.database, user_id=user.user_id, filters=wanted(user))
    return json_response({"count": number, "exact": exact})


@router.get(
    "/api/images/index",
    response_model=Index,
    responses=SAME | LISTED,
    openapi_extra=UNLESS_SAME,
)
async def columns(
    request: Request,
    user: Viewer,
    res: Res,
    wanted: Wanted,
    rendition: Rendition = None,
    limit: IndexLimit = MOST,
    cursor: Cursor = None,
) -> Response:
    """Get the index of a library.

    All pictures that filters find, in columns: a few bytes for each. A library of more than
    `limit` goes on in `Link`.
    """
    filters, scope = wanted(user), request.scope
    page = keyset(scope["path"], scope["query_string"].decode(), limit, cursor)
    found, rest = await read_columns(
        res.database,
        user_id=user.user_id,
        filters=filters,
        rendition=rendition or grid(res.settings.sizes),
        position=page.position(filters.numbers),
        limit=limit,
    )
    return await packed_response(request, found.json(), page.headers(*rest) if rest else None)
