"""Moves of tasks between spaces over HTTP."""

from __future__ import annotations

from fastapi import APIRouter, Response

from atelier.auth import Right, in_space
from atelier.http import allowance
from atelier.http.json import json_response
from atelier.http.moving import Moved, Moving
from atelier.http.problems import responses
from atelier.http.resources import Res
from atelier.tasks import moving
from atelier.tasks.handout_routes import Reached
from atelier.tasks.routes import Editor

router = APIRouter(prefix="/api/tasks", tags=["tasks"])


@router.post("/move", response_model=Moved, responses=responses(400, 401, 404, 409, 415, 422))
async def move(body: Moving, watermarks: Reached, user: Editor, res: Res) -> Response:
    """Move tasks to another space.

    All of them, or none. 409 while one of them is leased.
    """
    space_id = in_space(user, body.space_id, Right.TASKS_WRITE)
    allowed = allowance.allowance_of(res.settings)
    moved = await moving.move(res.database, watermarks, user, body.ids, space_id, allowed)
    return json_response({"moved": moved})
