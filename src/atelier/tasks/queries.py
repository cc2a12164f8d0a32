"""Reads tasks: one, a page, the total. Uses no ORM; rows leave as ready bytes."""

from __future__ import annotations

from typing import Any

import asyncpg

from atelier.auth import Principal, Right, require
from atelier.database import Database
from atelier.errors import NotFound
from atelier.tasks.pools import POOLS, Pool
from atelier.tasks.records import ANSWERED, COLUMNS, COMPLETED, MISSING, SELECT_ONE, State, record
from atelier.wire.searches import containing

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
_SEARCHED = "AND meta ILIKE $5"


def _pages(more: str) -> dict[tuple[str, bool | None], str]:
    """The statements of pages, by pool and whether the tasks are done, on another condition."""
    done: dict[bool | None, str] = {
        None: "",
        False: "AND (completed_at IS NOT NULL) = false",
        True: "AND (completed_at IS NOT NULL) = true",
    }
    return {
        (pool, each): _PAGE.format(pool=pool, more=f"{words} {more}")
        for pool in POOLS
        for each, words in done.items()
    }


def _whole(pages: dict[tuple[str, bool | None], str]) -> dict[tuple[str, bool | None], str]:
    return {kind: ANSWERED.format(tasks=page) + _NEWEST for kind, page in pages.items()}


def _of_both(pages: dict[tuple[str, bool | None], str]) -> dict[str, str]:
    """Two short scans of the index in one, of the free tasks and of the others."""
    return {
        pool: ANSWERED.format(
            tasks=f"""
                SELECT * FROM (
                    ({pages[pool, None].replace("$4", "true")})
                    UNION ALL ({pages[pool, None].replace("$4", "false")})
                ) AS both_kinds {_NEWEST}
            """
        ).replace("$5", "$4")
        + _NEWEST
        for pool in POOLS
    }


PAGES, PAGES_OF_BOTH = _whole(_pages("")), _of_both(_pages(""))
FOUND, FOUND_OF_BOTH = _whole(_pages(_SEARCHED)), _of_both(_pages(_SEARCHED))


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
    user_id: int,
    pool: Pool,
    free: bool | None,
    state: State | None,
    q: str | None,
    before: int | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Up to `limit` records of this pool, newest first, with ids below `before`.

    Raises TooManyRequests and TooSlow if there is a text to search for in `meta`, which the
    searches of `user_id` count together.
    """
    pages, of_both = (PAGES, PAGES_OF_BOTH) if q is None else (FOUND, FOUND_OF_BOTH)
    values: list[Any] = [pool.id, before, limit]
    if state is not None:
        free = state is State.FREE
    if free is None:
        query = of_both[pool.column]
    else:
        query = pages[pool.column, None if state is None else COMPLETED.get(state)]
        values.append(free)
    if q is None:
        rows = await database.fetch(query, *values)
    else:
        rows = await database.search(user_id, query, *values, containing(q))
    return [record(row) for row in rows]


async def total_created(database: Database) -> int:
    """The sum of the counters of all users."""
    row = await database.fetchrow(_TOTAL)
    return row["total"] if row else 0
