"""Tasks over HTTP: parse, call, shape."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.auth import Principal, Right, in_space, require
from atelier.http import allowance
from atelier.http.auth import Needs
from atelier.http.conditional import if_match, record_response
from atelier.http.encoding import dumps
from atelier.http.idempotency import Key, Run, once, within
from atelier.http.json import json_response
from atelier.http.paging import Page, page_response
from atelier.http.problems import from_status, responses
from atelier.http.resources import Res, Resources
from atelier.http.sendfile import HEAD
from atelier.http.spaces import Space
from atelier.http.strict import Decimal
from atelier.tasks import handout, pictures, queries, service, views
from atelier.tasks.handout import Fetch, Row
from atelier.tasks.incoming import incoming
from atelier.tasks.records import MISSING, etag, leased, record
from atelier.tasks.schemas import (
    Holding,
    NewTask,
    Renewal,
    TakenTask,
    Taking,
    TaskForm,
    TaskRecord,
    TotalCreated,
)
from atelier.tasks.watermarks import Watermarks
from atelier.wire.complaints import refused
from atelier.wire.idempotency import fingerprint, scope
from atelier.wire.preconditions import IN_PART, ON_MATCH, SAME, UNLESS_SAME
from atelier.wire.spaces import elsewhere

UPLOADS = ("/api/tasks", "/tasks")  # paths to which pictures are posted
CREATE = "POST /api/tasks"
TAKE = "POST /api/tasks/take"
RELEASE = "POST /api/tasks/{task_id}/release"
COMPLETE = "POST /api/tasks/{task_id}/complete"
UNSEEN = {"Cache-Control": "no-store"}  # each hand-out is for one request: no cache may repeat it

router = APIRouter(tags=["tasks"])
Id = Annotated[
    int, Field(ge=1, le=2**63 - 1), Decimal, Path(description="The task.", examples=[42])
]

Viewer = Annotated[Principal, Depends(Needs(Right.TASKS_READ))]
Worker = Annotated[Principal, Depends(Needs(Right.TASKS_WORK))]
Editor = Annotated[Principal, Depends(Needs(Right.TASKS_WRITE))]


async def reached(request: Request) -> Watermarks:
    """The watermarks of this process; made with the first request."""
    state = request.app.state
    if not hasattr(state, "task_floors"):
        state.task_floors = Watermarks()
    found: Watermarks = state.task_floors
    return found


Reached = Annotated[Watermarks, Depends(reached)]

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
TAKEN = responses(401, 404, 409, 422, 503)
READ = SAME | responses(401, 404, 422)
GONE = responses(400, 401, 404, 412, 422, 503)
HELD = responses(400, 401, 404, 409, 415, 422, 503)


@router.get("/take_free_task", response_model=TakenTask, responses=TAKEN, deprecated=True)
async def take_free_task(
    request: Request,
    watermarks: Reached,
    user: Worker,
    res: Res,
    space: Space = None,
    key: Key = None,
) -> Response:
    """Take my oldest free task.

    It is taken for good. A GET should change nothing: use `POST /api/tasks/take`.
    """
    if HEAD in request.scope:  # it would be taken, and the client would not learn which
        return from_status(405, headers={"Allow": "GET"})
    return await take(watermarks, user, res, space=space, key=key)


@router.post("/api/tasks/take", response_model=TakenTask, responses=TAKEN | responses(400, 415))
async def take(
    watermarks: Reached,
    user: Worker,
    res: Res,
    body: Taking | None = None,
    space: Space = None,
    key: Key = None,
) -> Response:
    """Take my oldest free task.

    It is taken for good, or for the time of a lease. No two requests get the same task.
    """
    space_id = in_space(user, _named(space, body), Right.TASKS_WORK)
    seconds = body.lease_seconds if body else None
    lease = None if seconds is None else timedelta(seconds=seconds)
    mark = fingerprint(seconds, *elsewhere(user.user_id, space_id))

    def work(fetch: Fetch) -> Awaitable[Row]:
        return handout.take(fetch, watermarks, space_id, lease)

    return await _once(res, user, TAKE, key, mark, work)


def _named(space: int | None, body: Taking | None) -> int | None:
    """The space that a request names in its address, its body or both."""
    named = body.space_id if body else None
    if None not in (space, named) and space != named:
        raise refused("The address names another space", "body", "space_id")
    return named if space is None else space


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


@router.get(
    "/tasks", response_model=list[TaskRecord], responses=responses(401, 404, 422), deprecated=True
)
@router.get("/api/tasks", response_model=list[TaskRecord], responses=responses(401, 404, 422))
async def index(
    user: Viewer,
    res: Res,
    page: Page,
    free: Annotated[
        bool | None, Query(description="Only tasks that are free, or that are not.")
    ] = None,
    space: Space = None,
) -> Response:
    """List my tasks.

    Newest first, in pages; those of one space.
    """
    owner_id = in_space(user, space, Right.TASKS_READ)
    records = await queries.page(
        res.database, owner_id=owner_id, free=free, before=page.before, limit=page.fetch
    )
    return page_response(page, records)


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
    picture is kept as it was sent.
    """
    space_id = in_space(user, space, Right.TASKS_WRITE)
    with res.uploads.admitted():
        return await _create(request, user, space_id, res, key)


async def _create(
    request: Request, user: Principal, space_id: int, res: Resources, key: str | None
) -> Response:
    await allowance.refuse_early(request, res, space_id)
    async with incoming(request, res.settings) as (picture, meta), res.uploads.working:
        mark = fingerprint(picture.sha256, meta, *elsewhere(user.user_id, space_id))
        hours = res.settings.idempotency_hours
        async with once(res.database, scope(user.user_id, CREATE), key, mark, hours=hours) as run:
            if run.replay:
                return run.replay
            made = await service.create(
                res.database,
                res.blobs,
                res.probers,
                space_id=space_id,
                created_by=user.user_id,
                picture=picture,
                meta=meta,
                allowed=allowance.allowance_of(res.settings),
                before_commit=_keep_created(run),
            )
            if made.view_due:
                await views.send(res.process_queue, made.row["id"], made.row["blob"])
            return run.answer


@router.post("/api/tasks/{task_id}/renew", response_model=TakenTask, responses=HELD)
async def renew(task_id: Id, body: Renewal, user: Worker, res: Res) -> Response:
    """Renew the lease of a task.

    The lease runs from now on for the time given. 409 when it has ended.
    """
    lease = timedelta(seconds=body.lease_seconds)
    row = await handout.renew(res.database.fetchrow, user, task_id, body.token, lease)
    return _handed(row)


@router.post("/api/tasks/{task_id}/release", response_model=TaskRecord, responses=HELD)
async def release(
    task_id: Id, body: Holding, watermarks: Reached, user: Worker, res: Res, key: Key = None
) -> Response:
    """Release a leased task.

    The task is free again. 409 when the lease has ended.
    """
    mark = fingerprint(task_id, body.token)

    def work(fetch: Fetch) -> Awaitable[Row]:
        return handout.release(fetch, watermarks, user, task_id, body.token)

    return await _once(res, user, RELEASE, key, mark, work)


@router.post("/api/tasks/{task_id}/complete", response_model=TaskRecord, responses=HELD)
async def complete(
    task_id: Id, body: Holding, user: Worker, res: Res, key: Key = None
) -> Response:
    """Complete a leased task.

    The work is done and the task stays taken for good. 409 when the lease has ended.
    """
    mark = fingerprint(task_id, body.token)

    def work(fetch: Fetch) -> Awaitable[Row]:
        return handout.complete(fetch, user, task_id, body.token)

    return await _once(res, user, COMPLETE, key, mark, work)


@router.delete(
    "/tasks/{task_id}", status_code=204, responses=GONE, openapi_extra=ON_MATCH, deprecated=True
)
@router.delete("/api/tasks/{task_id}", status_code=204, responses=GONE, openapi_extra=ON_MATCH)
async def delete(request: Request, task_id: Id, user: Editor, res: Res) -> Response:
    """Delete a task.

    Its picture goes with it. The counter of created tasks stays as it is.
    """
    await service.delete(res.database, res.blobs, user, task_id, if_match(request))
    return Response(status_code=204)


async def _once(
    res: Resources,
    user: Principal,
    operation: str,
    key: str | None,
    mark: bytes,
    work: Callable[[Fetch], Awaitable[Row]],
) -> Response:
    """Run `work` alone, or with a key in one transaction with its answer, kept for repetitions."""
    if key is None:
        return _handed(await work(res.database.fetchrow))
    hours = res.settings.idempotency_hours
    async with res.database.session() as session:
        run = await within(
            res.database, session, scope(user.user_id, operation), key, mark, hours=hours
        )
        if run.replay:
            _may_see(user, bytes(run.replay.body))
            return run.replay
        answer = _handed(await work(handout.inside(session)))
        await run.keep(session, answer)
        await session.commit()
    return answer


def _may_see(user: Principal, kept: bytes) -> None:
    """Judge a kept answer anew: its task's space may be one that the caller has left."""
    space_id = orjson.loads(kept).get("space_id", user.user_id)  # it once was one's own alone
    require(user, space_id, Right.TASKS_WORK, MISSING)


def _handed(row: Row) -> Response:
    return json_response(leased(row), headers=UNSEEN | {"ETag": f'"{etag(row)}"'})


def _keep_created(run: Run) -> Callable[[AsyncSession, Mapping[str, Any]], Awaitable[None]]:
    async def keep(session: AsyncSession, row: Mapping[str, Any]) -> None:
        headers = {"Location": f"/api/tasks/{row['id']}", "ETag": f'"{etag(row)}"'}
        await run.keep(session, json_response(dumps(record(row)), 201, headers))

    return keep
