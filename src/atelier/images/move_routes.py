"""Moves between spaces over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.auth import Principal, Right, in_space
from atelier.http import allowance
from atelier.http.auth import Needs
from atelier.http.idempotency import Key, transacted
from atelier.http.json import json_response
from atelier.http.moving import Moved, Moving
from atelier.http.problems import responses
from atelier.http.resources import Res
from atelier.images import moving
from atelier.wire.idempotency import fingerprint, scope

MOVE = "POST /api/images/move"

router = APIRouter(prefix="/api/images", tags=["images"])
Editor = Annotated[Principal, Depends(Needs(Right.IMAGES_WRITE))]


@router.post(
    "/move",
    response_model=Moved,
    responses=responses(400, 401, 403, 404, 409, 413, 415, 422, 503),
)
async def move(body: Moving, user: Editor, res: Res, key: Key = None) -> Response:
    """Move pictures into another space.

    All of them, or none if one is not there. It needs the right to change pictures in every space
    that one of them leaves, and in the one where they go. Those that are there already stay.
    """
    target = in_space(user, body.space_id, Right.IMAGES_WRITE)
    ids = list(dict.fromkeys(body.ids))
    allowed = allowance.allowance_of(res.settings)
    await allowance.begin(res.database, allowed, target)
    moved: list[int] = []

    async def work(session: AsyncSession) -> Response:
        moved.extend(
            await moving.move(session, res.cache, allowed, principal=user, ids=ids, target=target)
        )
        return json_response({"moved": len(moved)})

    answer = await transacted(
        res.database,
        scope(user.user_id, MOVE),
        key,
        fingerprint(ids, target),
        work,
        hours=res.settings.idempotency_hours,
    )
    await res.cache.drop(moving.keys(moved))
    return answer
