"""Reads all tasks that a filter finds, with their answers, in batches and in order of id.

No connection is held between batches, so a slow reader costs none; each batch is what is true at
its moment. A batch is bounded by what it looks at: a filter that finds little takes many short
statements, not one long one. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

import asyncpg

from atelier.database import Database
from atelier.tasks.pools import Pool
from atelier.tasks.records import ANSWERED, COMPLETED, State
from atelier.wire.spaces import MAX_ID

BATCH = 2_000  # tasks looked at by one statement
BATCH_BYTES = 1024 * 1024  # of texts and answers, after which a batch ends; the last may be large

# In this form only the hand-out's index has the order, whatever the statistics. That of queues is
# partial: that its condition holds is not seen in a comparison of rows.
_ARM = f"""
    (SELECT * FROM tasks
    WHERE ({{pool}}, free, id) > ($1, {{free}}, $2)
        AND ({{pool}}, free, id) <= ($1, {{free}}, {MAX_ID}) AND {{pool}} IS NOT NULL
    ORDER BY {{pool}}, free, id LIMIT {BATCH})
"""
# The first row of an answer is there also when nothing is found: `last` is where to go on. It is
# null at the end.
_BATCH = f"""
    WITH chosen AS MATERIALIZED (
        SELECT * FROM ({{arms}}) AS arms ORDER BY id LIMIT {BATCH}
    ), answered AS MATERIALIZED (
        SELECT *, (SELECT name FROM users WHERE users.id = completed_by) AS completed_by_name
        FROM ({ANSWERED.format(tasks="SELECT {columns} FROM chosen")}) AS found
    ), measured AS (
        SELECT *, sum(octet_length(meta) + coalesce(octet_length(result), 0))
            OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
        FROM answered
    ), batch AS MATERIALIZED (
        SELECT * FROM measured WHERE coalesce(bytes_before, 0) < {BATCH_BYTES}
    )
    SELECT * FROM (SELECT max(id) AS last FROM batch) AS position LEFT JOIN batch ON
        ($3::boolean IS NULL OR NOT free AND (completed_at IS NOT NULL) = $3)
        AND ($4::bigint IS NULL OR completed_by = $4)
        AND ($5::timestamptz IS NULL OR completed_at >= $5)
        AND ($6::timestamptz IS NULL OR completed_at < $6)
    ORDER BY id
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which tasks: of a pool, in a state, completed by somebody, from a moment on, until one."""

    pool: Pool
    state: State | None = None
    by: int | None = None
    since: datetime | None = None
    until: datetime | None = None


@cache
def statement(column: str, state: State | None, columns: str) -> str:
    """The statement of a batch, which gives these columns of each task."""
    kinds = (True, False) if state is None else (state is State.FREE,)
    arms = [_ARM.format(pool=column, free=free) for free in kinds]
    return _BATCH.format(arms=" UNION ALL ".join(arms), columns=columns)


async def batches(
    database: Database, wanted: Wanted, columns: str
) -> AsyncGenerator[Sequence[asyncpg.Record], None]:
    """The tasks in batches, which may be empty; the next one is read while one is worked on."""
    query = statement(wanted.pool.column, wanted.state, columns)
    done = None if wanted.state is None else COMPLETED.get(wanted.state)
    more = done, wanted.by, wanted.since, wanted.until

    def read(after: int) -> asyncio.Task[list[asyncpg.Record]]:
        return asyncio.create_task(database.fetch(query, wanted.pool.id, after, *more))

    reading = read(0)
    try:
        while True:
            rows = await reading
            if (last := rows[0]["last"]) is None:
                return
            reading = read(last)
            yield rows if rows[0]["id"] is not None else ()
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
