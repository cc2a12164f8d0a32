"""The hand-out of tasks over HTTP: parse, call, shape."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response

from atelier.auth import Principal, Right, in_space, require
from atelier.http.encoding import dumps
from atelier.http.idempotency import Key, within
from atelier.http.json import json_response
from atelier.http.problems import from_status, responses
from atelier.http.resources import Res, Resources
from atelier.http.sendfile import HEAD
from atelier.http.spaces import Space, named
from atelier.tasks import answers, handout, queues
from atelier.tasks.fetch import Fetch, Row, inside
from atelier.tasks.handout import NoFreeTask
from atelier.tasks.pools import QUEUE, SPACE, Pool, pools_of
from atelier.tasks.records import MISSING, etag, leased
from atelier.tasks.routes import Id, Worker
from atelier.tasks.schemas import (
    CompletedTask,
    Completion,
    Holding,
    Renewal,
    Skipping,
    TakenTask,
    Taking,
    TaskRecord,
)
from atelier.tasks.watermarks import Watermarks
from atelier.wire.complaints import refused
from atelier.wire.idempotency import fingerprint, scope
from atelier.wire.spaces import elsewhere

TAKE = "POST /api/tasks/take"
RELEASE = "POST /api/tasks/{task_id}/release"
SKIP = "POST /api/tasks/{task_id}/skip"
COMPLETE = "POST /api/tasks/{task_id}/complete"
UNSEEN = {"Cache-Control": "no-store"}  # each hand-out is for one request: no cache may repeat it
TAKEN = responses(401, 404, 409, 422, 503)
HELD = responses(400, 401, 404, 409, 415, 422, 503)

router = APIRouter(tags=["tasks"])
TakeNext = Annotated[bool, Query(description="Also take the next task.")]


async def reached(request: Request) -> Watermarks:
    """The watermarks of this process; made with the first request."""
    state = request.app.state
    if not hasattr(state, "task_floors"):
        state.task_floors = Watermarks()
    found: Watermarks = state.task_floors
    return found


Reached = Annotated[Watermarks, Depends(reached)]


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

    It is taken for good, or for the time of a lease. No two requests get the same task. When none
    is free, the problem tells how many are with others or skipped (`leased`), and when the first
    of them is free again (`next_free_at`), if it is ever.
    """
    space_id, queue_id = await _asked(res, user, space, body)
    pool = Pool(SPACE, space_id) if queue_id is None else Pool(QUEUE, queue_id)
    seconds = body.lease_seconds if body else None
    lease = None if seconds is None else timedelta(seconds=seconds)
    queue = () if queue_id is None else (f"queues/{queue_id}",)
    mark = fingerprint(seconds, *elsewhere(user.user_id, space_id), *queue)

    def work(fetch: Fetch) -> Awaitable[Row]:
        return handout.take(fetch, watermarks, user.user_id, pool, lease)

    return await _once(res, user, TAKE, key, mark, work)


async def _asked(
    res: Resources, user: Principal, space: int | None, body: Taking | None
) -> tuple[int, int | None]:
    """The space to take from, and the queue if one is named; the right there is judged."""
    space = named(space, body.space_id if body else None)
    queue_id = body.queue_id if body else None
    if queue_id is None:
        return in_space(user, space, Right.TASKS_WORK), None
    queue = await queues.find(res.database.fetchrow, user, queue_id, Right.TASKS_WORK)
    if space not in (None, queue["space_id"]):
        raise refused("The queue is in another space", "body", "queue_id")
    return queue["space_id"], queue_id


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


@router.post("/api/tasks/{task_id}/skip", response_model=TaskRecord, responses=HELD)
async def skip(task_id: Id, body: Skipping, user: Worker, res: Res, key: Key = None) -> Response:
    """Skip a leased task.

    Nobody gets it for so long. 409 when the lease has ended.
    """
    mark = fingerprint(task_id, body.token, body.for_seconds)

    def work(fetch: Fetch) -> Awaitable[Row]:
        rest = timedelta(seconds=body.for_seconds)
        return handout.skip(fetch, user, task_id, body.token, rest)

    return await _once(res, user, SKIP, key, mark, work)


@router.post("/api/tasks/{task_id}/complete", response_model=CompletedTask, responses=HELD)
async def complete(
    task_id: Id,
    body: Completion,
    watermarks: Reached,
    user: Worker,
    res: Res,
    take_next: TakeNext = False,
    key: Key = None,
) -> Response:
    """Complete a leased task.

    The answer is kept, and the task stays taken for good. It must be as the form of its queue
    wants it. 409 when the lease has ended. `take_next` takes the oldest free task of the same
    queue, or of the space for a task of none, in the same round trip.
    """
    # As before there were answers, for the repetitions of older requests.
    more = [body.result, take_next, body.lease_seconds]
    told = () if more == [None, False, None] else (dumps(more).decode(),)
    mark = fingerprint(task_id, body.token, *told)
    lease = None if body.lease_seconds is None else timedelta(seconds=body.lease_seconds)

    async def work(fetch: Fetch) -> Row:
        await answers.check(fetch, user, task_id, body.result)
        row = await handout.complete(fetch, user, task_id, body.token, body.result)
        if not take_next:
            return row
        return {**row, "next": await _next(fetch, watermarks, user, row, lease)}

    return await _once(res, user, COMPLETE, key, mark, work)


async def _next(
    fetch: Fetch, watermarks: Watermarks, user: Principal, done: Row, lease: timedelta | None
) -> Row | None:
    """The next task from where a completed one came; None if none is free."""
    with suppress(NoFreeTask):
        return await handout.take(fetch, watermarks, user.user_id, pools_of(done)[-1], lease)
    return None


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
        answer = _handed(await work(inside(session)))
        await run.keep(session, answer)
        await session.commit()
    return answer


def _may_see(user: Principal, kept: bytes) -> None:
    """Judge a kept answer anew: its task's space may be one that the caller has left."""
    space_id = orjson.loads(kept).get("space_id", user.user_id)  # it once was one's own alone
    require(user, space_id, Right.TASKS_WORK, MISSING)


def _handed(row: Row) -> Response:
    shown = leased(row)
    if "next" in row:
        shown["next"] = row["next"] and leased(row["next"])
    return json_response(dumps(shown), headers=UNSEEN | {"ETag": f'"{etag(row)}"'})
