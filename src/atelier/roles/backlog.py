"""The backlog of all processes: jobs, uploads, events, garbage.

Relays measure it when they are asked for metrics. The counts stop at a limit, so that a backlog of
millions costs no more to measure than a large one.
"""

from __future__ import annotations

from collections.abc import Sequence

from atelier.bootstrap import SUBSCRIPTIONS
from atelier.database import Database
from atelier.events.bus import Bus
from atelier.observe import metrics
from atelier.queue import Queue

COUNTED = 100_000  # rows of one kind; more are this many
KINDS = {"image": "images", "file": "files", "view": "task_views"}  # of what waits, and its table


def _waiting(table: str, queued: str = "status = 'queued'") -> str:
    rows = f"(SELECT offered_at FROM {table} WHERE {queued} ORDER BY offered_at LIMIT {COUNTED})"
    age = "coalesce(extract(epoch FROM clock_timestamp() - min(offered_at)), 0)"
    return f"(SELECT ARRAY[count(*), {age}]::float8[] FROM {rows} AS waiting) AS {table}"


_ROWS = f"""
    SELECT
        (SELECT count(*) FROM (
            SELECT FROM outbox WHERE position IS NULL LIMIT {COUNTED}
        ) AS unsent) AS unsent,
        (SELECT extract(epoch FROM clock_timestamp() - time)::float8 FROM outbox
         WHERE position IS NULL ORDER BY id LIMIT 1) AS unsent_age,
        (SELECT count(*) FROM (SELECT FROM blob_garbage LIMIT {COUNTED}) AS listed) AS garbage,
        {_waiting("images")},
        {_waiting("files")},
        {_waiting("task_views", "blob IS NULL AND error IS NULL")}
"""


async def measure(database: Database, queues: Sequence[Queue], bus: Bus) -> None:
    """Measure the backlog once.

    Raises the engines' errors. The bus comes last: when it is down, the other numbers are set
    already.
    """
    await _rows(database)
    for queue in queues:
        metrics.QUEUE_JOBS.labels(queue.name).set(await queue.depth())
        metrics.QUEUE_PENDING.labels(queue.name).set(await queue.pending())
        metrics.QUEUE_OLDEST.labels(queue.name).set(await queue.oldest())
        metrics.QUEUE_DEAD.labels(queue.name).set(await queue.dead_letters())
    metrics.MEASURED.set_to_current_time()
    metrics.EVENTS_DEAD.set(await bus.dead_letters(SUBSCRIPTIONS))


async def _rows(database: Database) -> None:
    row = await database.fetchrow(_ROWS)
    if row is None:
        return
    metrics.OUTBOX_UNSENT.set(row["unsent"])
    metrics.OUTBOX_OLDEST.set(max(0.0, row["unsent_age"] or 0.0))
    metrics.GARBAGE.set(row["garbage"])
    for kind, table in KINDS.items():
        count, age = row[table]
        metrics.UNFINISHED.labels(kind).set(count)
        metrics.UNFINISHED_OLDEST.labels(kind).set(max(0.0, age))
