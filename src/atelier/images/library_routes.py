"""The library of a space over HTTP: its tags, how many pictures filters find."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from atelier.auth import Right, in_space
from atelier.http.json import json_response
from atelier.http.problems import responses
from atelier.http.resources import Res
from atelier.http.spaces import Space
from atelier.http.strict import Decimal
from atelier.images import queries
from atelier.images.filtering import Tag, Wanted
from atelier.images.library_schemas import TAGS_MOST, Counted, TagCount
from atelier.images.routes import LISTED, Viewer

router = APIRouter(tags=["images"])
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
