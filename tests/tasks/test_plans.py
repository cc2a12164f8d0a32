"""The query plans of hand-outs and lists do not depend on how many tasks there are or were."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from atelier.database import Database
from atelier.tasks import handout, queries
from atelier.tasks.pools import QUEUE, SPACE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

FREE, TAKEN = True, False
INDEXES = {SPACE: "ix_tasks_owner_id_free_id", QUEUE: "ix_tasks_queue_id_free_id"}
FILL = """
    INSERT INTO tasks (owner_id, meta, free, blob, format, media_type, size, sha256,
       sequence, created_at)
    SELECT $1, '', $2, 'x', 'PNG', 'image/png', 1, '', 1, now() FROM generate_series(1, $3::int)
"""


@pytest.fixture
async def database(fresh_database_url: str) -> AsyncIterator[Database]:
    """A database with two users and no task."""
    made = Database(fresh_database_url, connections=1)
    for email in "ab":
        query = (
            "INSERT INTO users (email, email_folded, password_hash, sequence, created_at) "
            "VALUES ($1, $1, '', 1, now())"
        )
        await made.fetch(query, email)
    yield made
    await made.close()


@pytest.mark.parametrize(
    "tasks",
    [
        [],
        [(1, FREE, 2_000)],
        [(1, TAKEN, 2_000), (1, FREE, 1)],
        [(1, FREE, 2_000), (1, TAKEN, 1)],
        [(2, FREE, 1_000), (2, TAKEN, 1_000), (1, FREE, 5)],
    ],
    ids=["none", "all free", "nearly none free", "nearly all free", "nearly all another's"],
)
async def test_one_index_finds_what_is_asked_for(
    database: Database, tasks: list[tuple[int, bool, int]]
) -> None:
    """Whatever the statistics say; no other index would do at any number of tasks."""
    for owner_id, free, count in tasks:
        await database.fetch(FILL, owner_id, free, count)
    if tasks:
        await database.fetch(
            "INSERT INTO queues (space_id, name, sequence, created_at) VALUES (1, 'q', 1, now())"
        )
        await database.fetch("UPDATE tasks SET queue_id = 1 WHERE owner_id = 1")
        await database.fetch("VACUUM ANALYZE tasks")
    for pool, index in INDEXES.items():
        take = f"EXPLAIN {handout.TAKES[pool]}"
        plans = [
            await database.fetch(take, 1, timedelta(seconds=1), 0, None, 1),
            await database.fetch(f"EXPLAIN {queries.PAGES[pool, None]}", 1, None, 51, TAKEN),
            await database.fetch(f"EXPLAIN {queries.PAGES[pool, True]}", 1, None, 51, TAKEN),
            await database.fetch(f"EXPLAIN {queries.PAGES_OF_BOTH[pool]}", 1, None, 51),
        ]
        for plan in plans:
            text = "\n".join(row[0] for row in plan)
            assert index in text
            assert "Seq Scan on tasks" not in text


async def test_a_take_reads_a_handful_of_pages(database: Database) -> None:
    """As many of 20,000 tasks, most of them taken, as of none."""
    await database.fetch(FILL, 1, TAKEN, 20_000)
    await database.fetch(FILL, 1, FREE, 100)
    await database.fetch("VACUUM ANALYZE tasks")
    take = handout.TAKES[SPACE]
    await database.fetchrow(take, 1, None, 0, None, 1)
    plan = await database.fetch(
        f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {take}", 1, None, 0, None, 1
    )
    candidate = next(node for node in nodes(plan) if node.get("Subplan Name") == "CTE candidate")
    assert candidate["Shared Hit Blocks"] + candidate["Shared Read Blocks"] < 12


def nodes(plan: list[Any]) -> Iterator[dict[str, Any]]:
    """Every node of a plan in JSON."""
    waiting = [json.loads(plan[0][0])[0]["Plan"]]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.get("Plans", [])
