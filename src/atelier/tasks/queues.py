"""Queues of tasks: make, read, change, delete. Knows no HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.auth import Principal, Right, require
from atelier.database import Database
from atelier.errors import Conflict, NotFound, PreconditionFailed
from atelier.events.messages import utcnow
from atelier.tasks import deleting
from atelier.tasks import queue_events as events
from atelier.tasks.fetch import Fetch
from atelier.tasks.models import Queue, Task
from atelier.tasks.pools import QUEUE, Pool
from atelier.wire.spaces import gone

Expected = Callable[[str], bool]  # judges the entity tag of If-Match

NO_QUEUE = "There is no such queue."
QUEUE_LIMIT = 1_000  # of one space
COLUMNS = "id, space_id, created_by, name, form::text, sequence, created_at"
_FIND = f"SELECT {COLUMNS} FROM queues WHERE id = $1"
_PAGE = f"""
    SELECT {COLUMNS} FROM queues WHERE space_id = $1 AND ($2::bigint IS NULL OR id < $2)
    ORDER BY id DESC LIMIT $3
"""
_COUNT = "SELECT count(*) AS number FROM queues WHERE space_id = $1"
_OF_TASK = """
    SELECT tasks.owner_id, queues.form::text FROM tasks JOIN queues ON queues.id = tasks.queue_id
    WHERE tasks.id = $1 AND queues.form IS NOT NULL
"""


class TooManyQueues(Conflict):
    """A space has no room for another queue."""

    slug = "too-many-queues"


class QueueNotEmpty(Conflict):
    """There are tasks in this queue."""

    slug = "queue-not-empty"


async def find(
    fetch: Fetch, principal: Principal, queue_id: int, right: Right
) -> Mapping[str, Any]:
    """A queue in whose space the principal has a right. Raises NotFound and NotAllowed."""
    row = await fetch(_FIND, queue_id)
    if row is None:
        raise NotFound(NO_QUEUE)
    require(principal, row["space_id"], right, NO_QUEUE)
    return row


async def page(
    database: Database, space_id: int, *, before: int | None, limit: int
) -> list[Mapping[str, Any]]:
    """Up to `limit` queues of a space, newest first, with ids below `before`."""
    return [*await database.fetch(_PAGE, space_id, before, limit)]


async def form_of(fetch: Fetch, task_id: int) -> Mapping[str, Any] | None:
    """The space of a task and the form of its queue, as JSON; None where any answer will do."""
    return await fetch(_OF_TASK, task_id)


async def create(
    database: Database,
    principal: Principal,
    *,
    space_id: int,
    name: str,
    form: dict[str, Any] | None,
    before_commit: Callable[[AsyncSession, Queue], Awaitable[None]],
) -> None:
    """Make a queue in a space in which the principal may write.

    Raises TooManyQueues, and NotFound if the space has gone.
    """
    row = await database.fetchrow(_COUNT, space_id)
    if row is not None and row["number"] >= QUEUE_LIMIT:
        raise TooManyQueues(f"A space may have {QUEUE_LIMIT} queues; delete one first.")
    async with database.session() as session:
        queue = Queue(
            space_id=space_id,
            created_by=principal.user_id,
            name=name,
            form=form,
            sequence=0,
            created_at=utcnow(),
        )
        session.add(queue)
        try:
            await session.flush()
        except IntegrityError as error:
            raise gone() from error
        events.announce(session, queue, events.CREATED)
        await before_commit(session, queue)
        await session.commit()


async def change(
    database: Database,
    principal: Principal,
    queue_id: int,
    changes: Mapping[str, Any],
    expected: Expected,
) -> Queue:
    """Give a queue another name or form; answers that were given stay as they are.

    No event when nothing changes. Raises NotFound, NotAllowed and PreconditionFailed.
    """
    async with database.session() as session:
        queue = await _locked(session, principal, queue_id, expected)
        changed = {name: new for name, new in changes.items() if getattr(queue, name) != new}
        for name, new in changed.items():
            setattr(queue, name, new)
        if changed:
            events.announce(session, queue, events.UPDATED)
            await session.commit()
    return queue


async def delete(
    database: Database,
    principal: Principal,
    queue_id: int,
    expected: Expected,
    *,
    with_tasks: bool,
    keep: bool,
) -> None:
    """Delete a queue, and only if it is said so, its tasks with their answers.

    With `keep` the tasks go to the trash, from where they come back without a queue.
    Raises NotFound, NotAllowed, PreconditionFailed and QueueNotEmpty.
    """
    async with database.session() as session:
        queue = await _locked(session, principal, queue_id, expected)
        if with_tasks:
            await deleting.empty(session, Pool(QUEUE, queue_id), keep=keep)
        elif await session.scalar(select(Task.id).where(Task.queue_id == queue_id).limit(1)):
            raise QueueNotEmpty("Delete its tasks first, or with it: `?with_tasks=true`.")
        events.announce(session, queue, events.DELETED)
        await session.flush()
        await session.delete(queue)
        await session.commit()


async def _locked(
    session: AsyncSession, principal: Principal, queue_id: int, expected: Expected
) -> Queue:
    queue = await session.scalar(
        select(Queue)
        .where(Queue.id == queue_id, Queue.space_id.in_(list(principal.roles)))
        .with_for_update()  # nothing is put into it meanwhile
    )
    if queue is None:
        raise NotFound(NO_QUEUE)
    require(principal, queue.space_id, Right.TASKS_WRITE, NO_QUEUE)
    if not expected(str(queue.sequence)):
        raise PreconditionFailed("The queue has changed since this entity tag.")
    return queue
