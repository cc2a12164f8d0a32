"""Hands tasks out: take, and with a lease renew, release, complete, expire.

Each is one statement. A lease's token is the number of the event that began it: it grows with
every hand-out and is void after the next event, so a late holder can do no harm. Statements run on
the `Fetch` they are given: alone, or in a caller's transaction.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from atelier.auth import Principal, Right, require, spaces_with
from atelier.database import Database
from atelier.errors import Conflict, NotFound, Unavailable
from atelier.observe import requester
from atelier.retry import Backoff
from atelier.tasks import events
from atelier.tasks.records import COLUMNS, MISSING
from atelier.tasks.watermarks import Watermarks

Row = Mapping[str, Any]
Fetch = Callable[..., Awaitable[Row | None]]  # the first row of a statement with $1, $2 ...

# A take waits so long while every free task is locked by requests that may yet give it back.
PATIENCE_SECONDS = 5.0
PAUSES_SECONDS = (0.002, 0.1)  # between looks
EXPIRE_LIMIT = 1000  # leases ended by one statement

# SKIP LOCKED: no taker waits for another. The row comparison selects the free tasks of $1 above
# $3. In this form only one index has the order, whatever the statistics: along another the scan
# would step over every task ever taken.
TAKE = f"""
    WITH candidate AS MATERIALIZED (
        SELECT id FROM tasks WHERE (owner_id, free, id) > ($1, true, $3) AND owner_id <= $1
        ORDER BY owner_id, free, id LIMIT 1 FOR UPDATE SKIP LOCKED
    ), taken AS (
        UPDATE tasks
        SET free = false, sequence = sequence + 1,
            taken_at = clock_timestamp(), leased_until = clock_timestamp() + $2::interval
        FROM candidate WHERE tasks.id = candidate.id RETURNING tasks.*
    ), announced AS (
        {events.announce(events.TAKEN, "taken", "$4")}
    )
    SELECT {COLUMNS} FROM taken
"""
_LEFT = """
    SELECT
        EXISTS (SELECT 1 FROM tasks WHERE owner_id = $1 AND free) AS free,
        EXISTS (
            SELECT 1 FROM tasks WHERE owner_id = $1 AND leased_until <= statement_timestamp()
        ) AS overdue
"""

_FREED = "SET free = true, taken_at = NULL, leased_until = NULL, sequence = sequence + 1"
_EXPIRE = f"""
    WITH overdue AS MATERIALIZED (
        SELECT id FROM tasks
        WHERE leased_until <= statement_timestamp() AND ($1::bigint IS NULL OR owner_id = $1)
        ORDER BY leased_until LIMIT {EXPIRE_LIMIT} FOR UPDATE SKIP LOCKED
    ), freed AS (
        UPDATE tasks {_FREED} FROM overdue WHERE tasks.id = overdue.id RETURNING tasks.*
    ), announced AS (
        {events.announce(events.RELEASED, "freed", "NULL", more="'reason', 'expired'")}
    )
    SELECT count(*) AS freed FROM freed
"""

_HELD = """
    WHERE id = $1 AND owner_id = any($2::bigint[]) AND sequence = $3
        AND leased_until > clock_timestamp()
"""
_RENEW = (
    f"UPDATE tasks SET leased_until = clock_timestamp() + $4::interval {_HELD} RETURNING {COLUMNS}"
)
_RELEASE = f"""
    WITH freed AS (UPDATE tasks {_FREED} {_HELD} RETURNING *), announced AS (
        {events.announce(events.RELEASED, "freed", "$4", more="'reason', 'released'")}
    )
    SELECT {COLUMNS} FROM freed
"""
_COMPLETE = f"""
    WITH done AS (
        UPDATE tasks SET leased_until = NULL, sequence = sequence + 1 {_HELD} RETURNING *
    ), announced AS (
        {events.announce(events.COMPLETED, "done", "$4")}
    )
    SELECT {COLUMNS} FROM done
"""
_SPACE = "SELECT owner_id FROM tasks WHERE id = $1"


class NoFreeTask(NotFound):
    """None of your tasks is free."""

    slug = "no-free-task"


class LeaseLost(Conflict):
    """This lease has ended."""

    slug = "lease-lost"


async def take(
    fetch: Fetch, watermarks: Watermarks, owner_id: int, lease: timedelta | None
) -> Row:
    """The oldest free task of this space, taken for good or until the lease ends.

    Raises NoFreeTask, but only if no free task is to be seen: tasks locked by others at the moment
    may come free again.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    backoff = Backoff(*PAUSES_SECONDS)
    while True:
        above = watermarks.get(owner_id)
        taken = await fetch(TAKE, owner_id, lease, above, requester.actor())
        if taken is not None:
            watermarks.taken(owner_id, taken["id"], above)
            return taken
        # Nothing above the watermark: tasks below it may have been given back.
        watermarks.forget(owner_id)
        if above:
            continue
        # Nothing is free, or only locked rows are: look for expired leases before giving up.
        left = await fetch(_LEFT, owner_id)
        if left is not None and left["overdue"] and await _expire(fetch, owner_id):
            continue
        if left is None or not (left["free"] or left["overdue"]):
            raise NoFreeTask
        if time.monotonic() > deadline:
            raise Unavailable(
                "The last free tasks are just being handed out or deleted.", retry_after=1
            )
        await asyncio.sleep(backoff.next())


async def renew(
    fetch: Fetch, principal: Principal, task_id: int, token: int, lease: timedelta
) -> Row:
    """Restart the time of a lease.

    Raises LeaseLost, NotFound if the principal sees no such task, and NotAllowed.
    """
    return await _held(fetch, _RENEW, principal, task_id, token, lease)


async def release(
    fetch: Fetch, watermarks: Watermarks, principal: Principal, task_id: int, token: int
) -> Row:
    """Give a leased task back, free for the next. Raises as `renew` does."""
    row = await _held(fetch, _RELEASE, principal, task_id, token, requester.actor())
    watermarks.forget(row["owner_id"])
    return row


async def complete(fetch: Fetch, principal: Principal, task_id: int, token: int) -> Row:
    """End a lease with the work done: the task stays taken for good. Raises as `renew` does."""
    return await _held(fetch, _COMPLETE, principal, task_id, token, requester.actor())


async def expire(database: Database) -> int:
    """Free the tasks of expired leases; returns how many."""
    freed = 0
    while batch := await _expire(database.fetchrow, None):
        freed += batch
    return freed


def inside(session: AsyncSession) -> Fetch:
    """A `Fetch` in the transaction of `session`."""

    async def fetch(statement: str, *values: object) -> Row | None:
        result = (
            (await (await session.connection()).exec_driver_sql(statement, values))
            .mappings()
            .first()
        )
        return None if result is None else dict(result)

    return fetch


async def _expire(fetch: Fetch, owner_id: int | None) -> int:
    row = await fetch(_EXPIRE, owner_id)
    return int(row["freed"]) if row else 0


async def _held(
    fetch: Fetch,
    statement: str,
    principal: Principal,
    task_id: int,
    token: int,
    more: object,
) -> Row:
    worked = spaces_with(principal, Right.TASKS_WORK)
    row = await fetch(statement, task_id, worked, token, more)
    if row is not None:
        return row
    found = await fetch(_SPACE, task_id)
    if found is None:
        raise NotFound(MISSING)
    require(principal, found["owner_id"], Right.TASKS_WORK, MISSING)
    raise LeaseLost("It ran out, was given back or completed, or never was: take a task anew.")
