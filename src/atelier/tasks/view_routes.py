"""Views of tasks over HTTP."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from atelier.http.resources import Res
from atelier.tasks import pictures, queries
from atelier.tasks.routes import PICTURE, Id, Viewer
from atelier.wire.preconditions import IN_PART

router = APIRouter(prefix="/api/tasks", tags=["tasks"])


@router.get("/{task_id}/view", response_class=Response, responses=PICTURE, openapi_extra=IN_PART)
async def view(request: Request, task_id: Id, user: Viewer, res: Res) -> Response:
    """Get the picture of a task as every browser shows it.

    As it was sent if that will do, else a JPEG that is made of it once: 404 `not-ready` until
    then, `processing-failed` if none can be made.
    """
    row = await queries.find(res.database, user, task_id)
    return await pictures.shown(request, res, row)
