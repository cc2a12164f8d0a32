"""Hands tasks out: take, and with a lease renew, release, skip, complete, expire.

Each is one statement. A lease's token is the number of the event that began it: it grows with
every hand-out and is void after the next event, so a late holder can do no harm. Statements run on
the `Fetch` they are given: alone, or in a caller's transaction.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta

import orjson

from atelier.auth import Principal, Right, require, spaces_with
from atelier.database import Database
from atelier.errors import Conflict, NotFound, Unavailable
from atelier.observe import requester
from atelier.retry import Backoff
from atelier.tasks import events
from atelier.tasks.fetch import Fetch, Row
from atelier.tasks.pools import POOLS, Pool, pools_of
from atelier.tasks.records import COLUMNS, MISSING
from atelier.tasks.watermarks import Watermarks

# A take waits so long while every free task is locked by requests that may yet give it back.
PATIENCE_SECONDS = 5.0
PAUSES_SECONDS = (0.002, 0.1)  # between looks
EXPIRE_LIMIT = 1000  # leases ended by one statement

# SKIP LOCKED: no taker waits for another. The row comparison selects the free tasks of $1 above
# $3. In this form only one index has the order, whatever the statistics: along another the scan
# would step over every task ever taken. {pool} is a column, `owner_id` or `queue_id`.
_TAKE = f"""
    WITH candidate AS MATERIALIZED (
        SELECT id FROM tasks WHERE ({{pool}}, free, id) > ($1, true, $3) AND {{pool}} <= $1
        ORDER BY {{pool}}, free, id LIMIT 1 FOR UPDATE SKIP LOCKED
    ), taken AS (
        UPDATE tasks
        SET free = false, sequence = sequence + 1, taken_by = $5,
            taken_at = clock_timestamp(), leased_until = clock_timestamp() + $2::interval
        FROM candidate WHERE tasks.id = candidate.id RETURNING tasks.*
    ), announced AS (
        {events.announce(events.TAKEN, "taken", "$4")}
    )
    SELECT {COLUMNS} FROM taken
"""
_LEFT = """
    SELECT
        EXISTS (SELECT 1 FROM tasks WHERE {pool} = $1 AND free) AS free,
        count(*) FILTER (WHERE leased_until > statement_timestamp()) AS leased,
        count(*) FILTER (WHERE leased_until <= statement_timestamp()) AS overdue,
        min(leased_until) AS next_free_at
    FROM tasks WHERE {pool} = $1 AND leased_until IS NOT NULL
"""

_FREED = """
    SET free = true, taken_at = NULL, taken_by = NULL, leased_until = NULL, sequence = sequence + 1
"""
# The reason is that for which a task was not free.
_EXPIRE = f"""
    WITH overdue AS MATERIALIZED (
        SELECT id, CASE WHEN taken_at IS NULL THEN 'skipped' ELSE 'expired' END AS reason
        FROM tasks WHERE leased_until <= statement_timestamp() AND {{whose}}
        ORDER BY leased_until LIMIT {EXPIRE_LIMIT} FOR UPDATE SKIP LOCKED
    ), freed AS (
        UPDATE tasks {_FREED} FROM overdue WHERE tasks.id = overdue.id
        RETURNING tasks.*, overdue.reason
    ), announced AS (
        {events.announce(events.RELEASED, "freed", "NULL", more="'reason', reason")}
    )
    SELECT count(*) AS freed FROM freed
"""

# The token alone would do, were it not so easy to guess. Of what was taken under the release
# before it is not known by whom.
_HELD = """
    WHERE id = $1 AND owner_id = any($2::bigint[]) AND sequence = $3
        AND (taken_by = $4 OR taken_by IS NULL AND taken_at IS NOT NULL)
        AND leased_until > clock_timestamp()
"""
_RENEW = (
    f"UPDATE tasks SET leased_until = clock_timestamp() + $5::interval {_HELD} RETURNING {COLUMNS}"
)
_RELEASE = f"""
    WITH freed AS (UPDATE tasks {_FREED} {_HELD} RETURNING *), announced AS (
        {events.announce(events.RELEASED, "freed", "$5", more="'reason', 'released'")}
    )
    SELECT {COLUMNS} FROM freed
"""
# A lease to nobody, which no index of the hand-out need know: it ends as any other does.
_SKIP = f"""
    WITH skipped AS (
        UPDATE tasks SET taken_at = NULL, taken_by = NULL, sequence = sequence + 1,
            leased_until = clock_timestamp() + $6::interval
        {_HELD} RETURNING *
    ), announced AS (
        {events.announce(events.SKIPPED, "skipped", "$5")}
    )
    SELECT {COLUMNS} FROM skipped
"""
_COMPLETE = f"""
    WITH done AS (
        UPDATE tasks
        SET leased_until = NULL, completed_at = clock_timestamp(), sequence = sequence + 1
        {_HELD} RETURNING *
    ), answered AS (
        INSERT INTO answers (task_id, queue_id, user_id, result, at, seconds)
        SELECT id, queue_id, $4, $6::jsonb, completed_at,
            round(extract(epoch FROM completed_at - taken_at), 3)
        FROM done RETURNING user_id AS completed_by, result::text, seconds
    ), announced AS (
        {events.announce(events.COMPLETED, "done", "$5", more=events.ANSWER.format("$4", "$6"))}
    )
    SELECT {COLUMNS}, completed_by, result, seconds FROM done CROSS JOIN answered
"""
# Each for both kinds of pool.
TAKES = {column: _TAKE.format(pool=column) for column in POOLS}
_LEFTS = {column: _LEFT.format(pool=column) for column in POOLS}
_EXPIRES = {column: _EXPIRE.format(whose=f"{column} = $1") for column in POOLS}
_EXPIRE_ALL = _EXPIRE.format(whose="true")
_NOTHING: Row = {"free": False, "leased": 0, "overdue": 0, "next_free_at": None}
_SPACE = "SELECT owner_id FROM tasks WHERE id = $1"


class NoFreeTask(NotFound):
    """None of your tasks is free."""

    slug = "no-free-task"

    def __init__(self, leased: int, next_free_at: datetime | None) -> None:
        """So many are with others or were skipped; the first of them is free again then."""
        super().__init__()
        self.members = {"leased": leased, "next_free_at": next_free_at}


class LeaseLost(Conflict):
    """This lease has ended."""

    slug = "lease-lost"


async def take(
    fetch: Fetch, watermarks: Watermarks, user_id: int, pool: Pool, lease: timedelta | None
) -> Row:
    """The oldest free task of this pool, taken by a user for good or until the lease ends.

    Raises NoFreeTask, but only if no free task is to be seen: tasks locked by others at the moment
    may come free again.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    backoff = Backoff(*PAUSES_SECONDS)
    by = requester.actor(), user_id
    while True:
        above = watermarks.get(pool)
        taken = await fetch(TAKES[pool.column], pool.id, lease, above, *by)
        if taken is not None:
            watermarks.taken(pool, taken["id"], above)
            return taken
        # Nothing above the watermark: tasks below it may have been given back.
        watermarks.forget(pool)
        if above:
            continue
        # Nothing is free, or only locked rows are: look for expired leases before giving up.
        left = await fetch(_LEFTS[pool.column], pool.id) or _NOTHING
        if left["overdue"] and await _expire(fetch, pool):
            continue
        if not (left["free"] or left["overdue"]):
            raise NoFreeTask(left["leased"], left["next_free_at"])
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
    for pool in pools_of(row):
        watermarks.forget(pool)
    return row


async def skip(
    fetch: Fetch, principal: Principal, task_id: int, token: int, rest: timedelta
) -> Row:
    """Give a leased task back that nobody gets for some time. Raises as `renew` does."""
    return await _held(fetch, _SKIP, principal, task_id, token, requester.actor(), rest)


async def complete(
    fetch: Fetch, principal: Principal, task_id: int, token: int, result: object
) -> Row:
    """End a lease with the work done, and keep the answer: the task stays taken for good.

    Raises as `renew` does.
    """
    kept = None if result is None else orjson.dumps(result).decode()
    return await _held(fetch, _COMPLETE, principal, task_id, token, requester.actor(), kept)


async def expire(database: Database) -> int:
    """Free the tasks of expired leases, and those that were skipped; returns how many."""
    freed = 0
    while batch := await _expire(database.fetchrow, None):
        freed += batch
    return freed


async def _expire(fetch: Fetch, pool: Pool | None) -> int:
    row = await (fetch(_EXPIRES[pool.column], pool.id) if pool else fetch(_EXPIRE_ALL))
    return int(row["freed"]) if row else 0


async def _held(
    fetch: Fetch, statement: str, principal: Principal, task_id: int, token: int, *more: object
) -> Row:
    worked = spaces_with(principal, Right.TASKS_WORK)
    row = await fetch(statement, task_id, worked, token, principal.user_id, *more)
    if row is not None:
        return row
    found = await fetch(_SPACE, task_id)
    if found is None:
        raise NotFound(MISSING)
    require(principal, found["owner_id"], Right.TASKS_WORK, MISSING)
    raise LeaseLost("It ran out, was given back or completed, or never was: take a task anew.")
