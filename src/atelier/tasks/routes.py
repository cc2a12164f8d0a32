"""Tasks over HTTP: parse, call, shape."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.auth import Principal, Right, in_space
from atelier.errors import NotFound
from atelier.http import allowance
from atelier.http.auth import Needs
from atelier.http.conditional import if_match, record_response
from atelier.http.encoding import dumps
from atelier.http.idempotency import Key, Run, once
from atelier.http.json import json_response
from atelier.http.paging import Page, page_response
from atelier.http.problems import responses
from atelier.http.resources import Res, Resources
from atelier.http.spaces import Space
from atelier.http.strict import Decimal, normal
from atelier.tasks import answers, deleting, filling, pictures, queries, queues, service, views
from atelier.tasks.incoming import Incoming, incoming
from atelier.tasks.pools import QUEUE, SPACE, Pool
from atelier.tasks.records import State, etag, record
from atelier.tasks.schemas import Correction, NewTask, TaskForm, TaskRecord, TotalCreated
from atelier.wire.complaints import refused
from atelier.wire.idempotency import fingerprint, scope
from atelier.wire.preconditions import IN_PART, ON_MATCH, SAME, UNLESS_SAME
from atelier.wire.searches import SEARCH_LIMIT
from atelier.wire.spaces import MAX_ID, elsewhere

UPLOADS = ("/api/tasks", "/tasks")  # paths to which pictures are posted
CREATE = "POST /api/tasks"

router = APIRouter(tags=["tasks"])
Id = Annotated[
    int, Field(ge=1, le=2**63 - 1), Decimal, Path(description="The task.", examples=[42])
]

Viewer = Annotated[Principal, Depends(Needs(Right.TASKS_READ))]
Worker = Annotated[Principal, Depends(Needs(Right.TASKS_WORK))]
Editor = Annotated[Principal, Depends(Needs(Right.TASKS_WRITE))]
QueueFilter = Annotated[
    Annotated[int, Field(ge=1, le=MAX_ID), Decimal] | None,
    Query(description="Only tasks of this queue.", examples=[3]),
]


PICTURE: dict[int | str, dict[str, Any]] = (
    SAME
    | responses(400, 401, 404, 412, 416, 422)
    | {
        200: {
            "description": "The picture.",
            "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
        },
        206: {"description": "The part of the picture that Range asked for."},
    }
)
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": NewTask.model_json_schema()},
            "multipart/form-data": {"schema": TaskForm.model_json_schema()},
        },
    }
}
MAKING = responses(400, 401, 403, 404, 409, 413, 415, 422, 503)
READ = SAME | responses(401, 404, 422)
LISTED = responses(401, 404, 422, 429, 503)
GONE = responses(400, 401, 404, 412, 422, 503)


@router.get(
    "/total_tasks_created", response_model=TotalCreated, responses=responses(401), deprecated=True
)
@router.get("/api/tasks/total_created", response_model=TotalCreated, responses=responses(401))
async def total_created(user: Viewer, res: Res) -> Response:
    """Count the tasks ever created.

    The sum of the counters of all users; deleted tasks count.
    """
    return json_response({"total_tasks_created": await queries.total_created(res.database)})


@router.get(
    "/tasks/{task_id}",
    response_model=TaskRecord,
    responses=READ,
    openapi_extra=UNLESS_SAME,
    deprecated=True,
)
@router.get(
    "/api/tasks/{task_id}", response_model=TaskRecord, responses=READ, openapi_extra=UNLESS_SAME
)
async def read(request: Request, task_id: Id, user: Viewer, res: Res) -> Response:
    """Get a task.

    Its record: whether it is free, its text, and where its picture is.
    """
    row = await queries.find(res.database, user, task_id)
    return record_response(request, dumps(record(row)), etag(row))


@router.patch(
    "/api/tasks/{task_id}/answer",
    response_model=TaskRecord,
    responses=responses(400, 401, 403, 404, 409, 412, 415, 422, 503),
    openapi_extra=ON_MATCH,
)
async def correct(
    request: Request, task_id: Id, body: Correction, user: Worker, res: Res
) -> Response:
    """Correct the answer to a task.

    By who gave it, or an editor. The event `task.answered` keeps the former one. 409 while there
    is none.
    """
    row = await answers.correct(res.database, user, task_id, body.result, if_match(request))
    return record_response(request, dumps(record(row)), etag(row))


@router.get(
    "/tasks/{task_id}/image",
    response_class=Response,
    responses=PICTURE,
    openapi_extra=IN_PART,
    deprecated=True,
)
@router.get(
    "/api/tasks/{task_id}/image", response_class=Response, responses=PICTURE, openapi_extra=IN_PART
)
async def image(request: Request, task_id: Id, user: Viewer, res: Res) -> Response:
    """Get the picture of a task.

    Byte by byte as it was sent. What a browser might run comes as an attachment.
    """
    return pictures.stored(request, res, await queries.find(res.database, user, task_id))


@router.get("/tasks", response_model=list[TaskRecord], responses=LISTED, deprecated=True)
@router.get("/api/tasks", response_model=list[TaskRecord], responses=LISTED)
async def index(
    user: Viewer,
    res: Res,
    page: Page,
    free: Annotated[
        bool | None, Query(description="Only tasks that are free, or that are not.")
    ] = None,
    state: Annotated[State | None, Query(description="Only tasks in this state.")] = None,
    queue: QueueFilter = None,
    q: Annotated[
        Annotated[str, normal(SEARCH_LIMIT), Field(max_length=SEARCH_LIMIT)] | None,
        Query(description="Only tasks with this in their text."),
    ] = None,
    space: Space = None,
) -> Response:
    """List my tasks.

    Newest first, in pages; those of one space, or of one of its queues.
    """
    if free is not None and state is not None:
        raise refused("Either `free` or `state`, not both", "query", "state")
    records = await queries.page(
        res.database,
        user_id=user.user_id,
        pool=await pool_of(res, user, space, queue),
        free=free,
        state=state,
        q=q,
        before=page.before,
        limit=page.fetch,
    )
    return page_response(page, records)


async def pool_of(res: Resources, user: Principal, space: int | None, queue: int | None) -> Pool:
    """What a request for tasks looks at: a queue's, or a space's. Raises NotFound and others."""
    if queue is None:
        return Pool(SPACE, in_space(user, space, Right.TASKS_READ))
    found = await queues.find(res.database.fetchrow, user, queue, Right.TASKS_READ)
    if space not in (None, found["space_id"]):
        raise NotFound(queues.NO_QUEUE)
    return Pool(QUEUE, queue)


@router.post(
    "/tasks",
    status_code=201,
    response_model=TaskRecord,
    responses=MAKING,
    openapi_extra=BODY,
    deprecated=True,
)
@router.post(
    "/api/tasks",
    status_code=201,
    response_model=TaskRecord,
    responses=MAKING,
    openapi_extra=BODY,
)
async def create(
    request: Request, user: Editor, res: Res, space: Space = None, key: Key = None
) -> Response:
    """Create a task.

    It has a picture of any image format, sent as base64 in JSON or as multipart, and a text. The
    picture is kept as it was sent. With `image_id` in its place the task is made of a stored
    picture, which cannot be deleted before the task. `queue_id` puts it into a queue.
    """
    space_id = in_space(user, space, Right.TASKS_WRITE)
    with res.uploads.admitted():
        return await _create(request, user, space_id, res, key)


async def _create(
    request: Request, user: Principal, space_id: int, res: Resources, key: str | None
) -> Response:
    await allowance.refuse_early(request, res, space_id)
    async with incoming(request, res.settings) as sent, res.uploads.working:
        hours = res.settings.idempotency_hours
        mark = _mark(user, space_id, sent)
        async with once(res.database, scope(user.user_id, CREATE), key, mark, hours=hours) as run:
            if not run.replay:
                await _make(user, space_id, res, sent, run)
            return run.replay or run.answer


def _mark(user: Principal, space_id: int, sent: Incoming) -> bytes:
    of = f"images/{sent.image_id}" if sent.picture is None else sent.picture.sha256
    queue = () if sent.queue_id is None else (f"queues/{sent.queue_id}",)
    return fingerprint(of, sent.meta, *elsewhere(user.user_id, space_id), *queue)


async def _make(user: Principal, space_id: int, res: Resources, sent: Incoming, run: Run) -> None:
    if sent.queue_id is not None:
        queue = await queues.find(res.database.fetchrow, user, sent.queue_id, Right.TASKS_WRITE)
        if queue["space_id"] != space_id:
            raise refused("The queue is in another space", "body", "queue_id")
    allowed, keep = allowance.allowance_of(res.settings), _keep_created(run)
    if sent.picture is None:
        await filling.create(
            res.database,
            user,
            space_id=space_id,
            queue_id=sent.queue_id,
            image_id=sent.image_id or 0,
            meta=sent.meta,
            allowed=allowed,
            before_commit=keep,
        )
        return
    made = await service.create(
        res.database,
        res.blobs,
        res.probers,
        space_id=space_id,
        created_by=user.user_id,
        queue_id=sent.queue_id,
        picture=sent.picture,
        meta=sent.meta,
        allowed=allowed,
        before_commit=keep,
    )
    if made.view_due:
        await views.send(res.process_lanes, space_id, made.row["id"], made.row["blob"])


@router.delete(
    "/tasks/{task_id}", status_code=204, responses=GONE, openapi_extra=ON_MATCH, deprecated=True
)
@router.delete("/api/tasks/{task_id}", status_code=204, responses=GONE, openapi_extra=ON_MATCH)
async def delete(request: Request, task_id: Id, user: Editor, res: Res) -> Response:
    """Delete a task.

    Its picture and its answers go with it; all of it can be restored from the trash for
    `trash_days`. The counter of created tasks stays as it is.
    """
    keep = res.settings.trash_days > 0
    await deleting.delete(res.database, res.blobs, user, task_id, if_match(request), keep=keep)
    return Response(status_code=204)


def _keep_created(run: Run) -> Callable[[AsyncSession, Mapping[str, Any]], Awaitable[None]]:
    async def keep(session: AsyncSession, row: Mapping[str, Any]) -> None:
        headers = {"Location": f"/api/tasks/{row['id']}", "ETag": f'"{etag(row)}"'}
        await run.keep(session, json_response(dumps(record(row)), 201, headers))

    return keep
