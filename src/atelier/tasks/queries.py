"""Reads tasks: one, a page, the total. Uses no ORM; rows leave as ready bytes."""

from __future__ import annotations

from typing import Any

import asyncpg

from atelier.auth import Principal, Right, require
from atelier.database import Database
from atelier.errors import NotFound
from atelier.tasks.records import COLUMNS, MISSING, SELECT_ONE, record

MAX_ID = 2**63 - 1

# All shards in one snapshot: a sum that was true at one moment.
_TOTAL = "SELECT coalesce(sum(created), 0)::bigint AS total FROM task_totals"
# As for hand-outs, in a form that only one index fits: a scan of another might read the whole
# table.
PAGE = f"""
    SELECT {COLUMNS} FROM tasks
    WHERE (owner_id, free, id) < ($1, $4, coalesce($2, {MAX_ID}))
      AND (owner_id, free, id) > ($1, $4, 0)
    ORDER BY owner_id DESC, free DESC, id DESC LIMIT $3
"""
PAGE_OF_BOTH = f"""
    SELECT * FROM (
        ({PAGE.replace("$4", "true")}) UNION ALL ({PAGE.replace("$4", "false")})
    ) AS both_kinds
    ORDER BY id DESC LIMIT $3
"""


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
    database: Database, *, owner_id: int, free: bool | None, before: int | None, limit: int
) -> list[dict[str, Any]]:
    """Up to `limit` records of this space, newest first, with ids below `before`."""
    if free is None:  # two short scans of the index, one for the free and one for the others
        rows = await database.fetch(PAGE_OF_BOTH, owner_id, before, limit)
    else:
        rows = await database.fetch(PAGE, owner_id, before, limit, free)
    return [record(row) for row in rows]


async def total_created(database: Database) -> int:
    """The sum of the counters of all users."""
    row = await database.fetchrow(_TOTAL)
    return row["total"] if row else 0
