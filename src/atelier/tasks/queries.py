"""Reads tasks: one, a page, the total. Uses no ORM; rows leave as ready bytes."""

from __future__ import annotations

from typing import Any

import asyncpg

from atelier.auth import Principal, Right, require
from atelier.database import Database
from atelier.errors import NotFound
from atelier.tasks.pools import POOLS, Pool
from atelier.tasks.records import ANSWERED, COLUMNS, COMPLETED, MISSING, SELECT_ONE, State, record

MAX_ID = 2**63 - 1

# All shards in one snapshot: a sum that was true at one moment.
_TOTAL = "SELECT coalesce(sum(created), 0)::bigint AS total FROM task_totals"
# As for hand-outs, in a form that only one index fits: a scan of another might read the whole
# table. The last comparison says that the column is not null, as the index of queues has it.
_PAGE = f"""
    SELECT {COLUMNS} FROM tasks
    WHERE ({{pool}}, free, id) < ($1, $4, coalesce($2, {MAX_ID}))
      AND ({{pool}}, free, id) > ($1, $4, 0) AND {{pool}} <= $1 {{more}}
    ORDER BY {{pool}} DESC, free DESC, id DESC LIMIT $3
"""
_NEWEST = "ORDER BY id DESC LIMIT $3"
_PAGES = {
    (pool, done): _PAGE.format(
        pool=pool, more="" if done is None else f"AND (completed_at IS NOT NULL) = {done}"
    )
    for pool in POOLS
    for done in (None, False, True)
}
PAGES = {kind: ANSWERED.format(tasks=page) + _NEWEST for kind, page in _PAGES.items()}
PAGES_OF_BOTH = {
    pool: ANSWERED.format(
        tasks=f"""
            SELECT * FROM (
                ({_PAGES[pool, None].replace("$4", "true")})
                UNION ALL ({_PAGES[pool, None].replace("$4", "false")})
            ) AS both_kinds {_NEWEST}
        """
    )
    + _NEWEST
    for pool in POOLS
}


async def find(database: Database, principal: Principal, task_id: int) -> asyncpg.Record:
    """A task that the principal may see, as a row of `COLUMNS`.

    Raises NotFound for a stranger's as for one that does not exist, and NotAllowed.
    """
    row = await database.by_id(SELECT_ONE, task_id)
    if row is None:
        raise NotFound(MISSING)
    require(principal, row["owner_id"], Right.TASKS_READ, MISSING)
    return row


async def page(
    database: Database,
    *,
    pool: Pool,
    free: bool | None,
    state: State | None,
    before: int | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Up to `limit` records of this pool, newest first, with ids below `before`."""
    if state is not None:
        free = state is State.FREE
    if free is None:  # two short scans of the index, one for the free and one for the others
        rows = await database.fetch(PAGES_OF_BOTH[pool.column], pool.id, before, limit)
    else:
        done = None if state is None else COMPLETED.get(state)
        rows = await database.fetch(PAGES[pool.column, done], pool.id, before, limit, free)
    return [record(row) for row in rows]


async def total_created(database: Database) -> int:
    """The sum of the counters of all users."""
    row = await database.fetchrow(_TOTAL)
    return row["total"] if row else 0
