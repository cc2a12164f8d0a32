"""Queues of tasks over HTTP: parse, call, shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from atelier.auth import Right, in_space
from atelier.http import allowance
from atelier.http.conditional import if_match, record_response
from atelier.http.encoding import dumps
from atelier.http.idempotency import Key, once
from atelier.http.json import json_response
from atelier.http.paging import Page, page_response
from atelier.http.problems import responses
from atelier.http.resources import Res
from atelier.http.spaces import Space, named
from atelier.http.strict import Decimal
from atelier.tasks import filling, queues
from atelier.tasks import progress as progress_of
from atelier.tasks.filling import Choice
from atelier.tasks.models import Queue
from atelier.tasks.queue_schemas import (
    Filled,
    Filling,
    NewQueue,
    Progress,
    QueueChange,
    QueueRecord,
)
from atelier.tasks.routes import Editor, Viewer
from atelier.wire.idempotency import fingerprint, scope
from atelier.wire.preconditions import ON_MATCH, SAME, UNLESS_SAME
from atelier.wire.spaces import MAX_ID, elsewhere

CREATE = "POST /api/queues"

router = APIRouter(prefix="/api/queues", tags=["queues"])
Id = Annotated[int, Field(ge=1, le=MAX_ID), Decimal, Path(description="The queue.", examples=[3])]


def _record(row: Mapping[str, Any] | Queue) -> dict[str, Any]:
    """The JSON record of a queue, whose form the driver gives as text."""
    found = vars(row) if isinstance(row, Queue) else row
    shown = {name: found[name] for name in QueueRecord.model_fields}
    if isinstance(shown["form"], str):
        shown["form"] = orjson.Fragment(shown["form"])
    return shown


@router.get("", response_model=list[QueueRecord], responses=responses(401, 404, 422))
async def index(user: Viewer, res: Res, page: Page, space: Space = None) -> Response:
    """List the queues of a space.

    Newest first, in pages.
    """
    space_id = in_space(user, space, Right.TASKS_READ)
    found = await queues.page(res.database, space_id, before=page.before, limit=page.fetch)
    return page_response(page, [_record(row) for row in found])


@router.post(
    "",
    status_code=201,
    response_model=QueueRecord,
    responses=responses(400, 401, 403, 404, 409, 415, 422, 503),
)
async def create(
    body: NewQueue, user: Editor, res: Res, space: Space = None, key: Key = None
) -> Response:
    """Make a queue.

    A named set of tasks of one space, with the form that their answers have to have.
    """
    space_id = in_space(user, named(space, body.space_id), Right.TASKS_WRITE)
    form = None if body.form is None else body.form.model_dump()
    mark = fingerprint(body.name, dumps(form).decode(), *elsewhere(user.user_id, space_id))
    hours = res.settings.idempotency_hours
    async with once(res.database, scope(user.user_id, CREATE), key, mark, hours=hours) as run:
        if not run.replay:
            await queues.create(
                res.database,
                user,
                space_id=space_id,
                name=body.name,
                form=form,
                before_commit=lambda session, queue: run.keep(session, _created(queue)),
            )
        return run.replay or run.answer


def _created(queue: Queue) -> Response:
    headers = {"Location": f"/api/queues/{queue.id}", "ETag": f'"{queue.sequence}"'}
    return json_response(_record(queue), 201, headers)


@router.get(
    "/{queue_id}",
    response_model=QueueRecord,
    responses=SAME | responses(401, 404, 422),
    openapi_extra=UNLESS_SAME,
)
async def read(request: Request, queue_id: Id, user: Viewer, res: Res) -> Response:
    """Get a queue.

    With its form.
    """
    row = await queues.find(res.database.fetchrow, user, queue_id, Right.TASKS_READ)
    return record_response(request, dumps(_record(row)), str(row["sequence"]))


@router.patch(
    "/{queue_id}",
    response_model=QueueRecord,
    responses=responses(400, 401, 403, 404, 412, 415, 422, 503),
    openapi_extra=ON_MATCH,
)
async def change(
    request: Request, queue_id: Id, body: QueueChange, user: Editor, res: Res
) -> Response:
    """Change a queue's name or form.

    Answers that were given stay as they are.
    """
    changes = body.model_dump(exclude_unset=True)
    queue = await queues.change(res.database, user, queue_id, changes, if_match(request))
    headers = {"ETag": f'"{queue.sequence}"'}
    return json_response(_record(queue), headers=headers)


@router.delete(
    "/{queue_id}",
    status_code=204,
    responses=responses(400, 401, 403, 404, 409, 412, 422, 503),
    openapi_extra=ON_MATCH,
)
async def delete(
    request: Request,
    queue_id: Id,
    user: Editor,
    res: Res,
    with_tasks: Annotated[bool, Query(description="Its tasks and their answers too.")] = False,
) -> Response:
    """Delete a queue.

    409 while there are tasks in it, unless they are to go with it. They can be restored from the
    trash for `trash_days`, and are in no queue then.
    """
    expected, keep = if_match(request), res.settings.trash_days > 0
    await queues.delete(res.database, user, queue_id, expected, with_tasks=with_tasks, keep=keep)
    return Response(status_code=204)


@router.post(
    "/{queue_id}/fill",
    response_model=Filled,
    responses=responses(400, 401, 403, 404, 413, 415, 422, 429, 503),
)
async def fill(queue_id: Id, body: Filling, user: Editor, res: Res) -> Response:
    """Fill a queue from the library.

    Each picture that is chosen becomes a task, once: whoever asks again adds those that came
    since. Pictures that failed are left out. A picture cannot be deleted while it has tasks.
    """
    queue = await queues.find(res.database.fetchrow, user, queue_id, Right.TASKS_WRITE)
    choice = Choice(body.tag, body.q, body.ids)
    allowed = allowance.allowance_of(res.settings)
    added, present = await filling.fill(
        res.database, user, queue, choice, meta=body.meta, allowed=allowed
    )
    return json_response({"added": added, "present": present})


@router.get("/{queue_id}/progress", response_model=Progress, responses=responses(401, 404, 422))
async def progress(queue_id: Id, user: Viewer, res: Res) -> Response:
    """Tell how far a queue is.

    Its tasks by state, and who answered how many of them when.
    """
    await queues.find(res.database.fetchrow, user, queue_id, Right.TASKS_READ)
    return json_response(await progress_of.progress(res.database, queue_id))
