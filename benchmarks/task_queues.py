"""Queues: seconds to fill one with many pictures, and answers with the next task in one step.

Prints Markdown. The floor of filling is one INSERT of the same rows without counters and events.
An answer is what `complete?take_next=true` does: the form's judgement, the answer, the next task;
`takers` do so at once. Engines are started for the run; HTTP comes on top.

    python -m benchmarks.task_queues [--pictures 100000] [--takers 32] [--answers 8000]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from datetime import timedelta

import psutil
import uvloop

from atelier.auth import Principal, Right, Role
from atelier.database import Database
from atelier.tasks import answers, filling, handout, queues
from atelier.tasks.filling import Choice
from atelier.tasks.pools import QUEUE, Pool
from atelier.tasks.watermarks import Watermarks
from atelier.wire.allowance import Allowance
from benchmarks.engines import engines
from benchmarks.task_export import IMAGES, QUEUE_ROW, USER

FORM = """
    UPDATE queues SET form = '{"question": "?", "fields": [{"name": "light", "type": "choice",
        "required": true, "choices": [{"value": "red"}, {"value": "green"}]}]}'
"""
FLOOR = """
    INSERT INTO tasks (owner_id, meta, free, image_id, format, media_type, size, sha256, sequence,
        created_at)
    SELECT owner_id, '', true, id, format, media_type, 0, sha256, 1, now() FROM images
    ORDER BY id
"""
LEASE = timedelta(minutes=10)
STEP = 20_000  # rows of one statement


async def fill(database: Database, user: int, queue_id: int) -> tuple[float, int]:
    """Seconds to fill a queue by a tag, and how many tasks came."""
    principal = Principal(user, "session", roles={user: Role.OWNER})
    found = await queues.find(database.fetchrow, principal, queue_id, Right.TASKS_WRITE)
    since = time.perf_counter()
    added, _ = await filling.fill(
        database, principal, found, Choice(q="no"), meta="", allowed=Allowance()
    )
    return time.perf_counter() - since, added


async def work(database: Database, user: int, queue_id: int, takers: int, number: int) -> None:
    """Print the row of answers."""
    principal = Principal(user, "session", roles={user: Role.OWNER})
    watermarks, pool, seconds = Watermarks(), Pool(QUEUE, queue_id), list[float]()
    fetch = database.fetchrow

    async def one(count: int) -> None:
        task = await handout.take(fetch, watermarks, user, pool, LEASE)
        for _ in range(count):
            since = time.perf_counter()
            result = {"light": "red"}
            await answers.check(fetch, principal, task["id"], result)
            await handout.complete(fetch, principal, task["id"], task["sequence"], result)
            task = await handout.take(fetch, watermarks, user, pool, LEASE)
            seconds.append(time.perf_counter() - since)

    since = time.perf_counter()
    await asyncio.gather(*(one(number // takers) for _ in range(takers)))
    rate = len(seconds) / (time.perf_counter() - since)
    cuts = [each * 1e3 for each in statistics.quantiles(seconds, n=100)]
    print(f"| {takers} takers | {rate:,.0f} | {cuts[49]:.1f} | {cuts[94]:.1f} |")


async def main(pictures: int, takers: int, number: int, url: str) -> None:
    """Both tables."""
    database = Database(url, connections=takers)
    user = (await database.fetch(USER))[0]["id"]
    queue_id = (await database.fetch(QUEUE_ROW, user))[0]["id"]
    await database.fetch(FORM)
    for start in range(0, pictures, STEP):
        await database.fetch(IMAGES, user, start, min(start + STEP, pictures))
    await database.fetch("UPDATE images SET title = 'no'")
    async with (await database.pool()).acquire() as connection:
        await connection.execute("SET statement_timeout = 0")
        await connection.execute("VACUUM ANALYZE")
        since = time.perf_counter()
        async with connection.transaction():
            await connection.execute(FLOOR)
        floor = time.perf_counter() - since
        await connection.execute("TRUNCATE tasks CASCADE")
    seconds, added = await fill(database, user, queue_id)
    again, _ = await fill(database, user, queue_id)
    print(f"load {psutil.getloadavg()[0]:.1f} on {psutil.cpu_count()} cores\n")
    print(f"| fill {added:,} | s |\n|---|---|")
    print(f"| new | {seconds:.1f} |\n| again | {again:.1f} |\n| floor | {floor:.1f} |\n")
    print("| answer and next | a second | p50 ms | p95 ms |\n|---|---|---|---|")
    for each in (1, takers):
        await work(database, user, queue_id, each, number if each > 1 else number // 8)
    await database.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--takers", type=int, default=32)
    parser.add_argument("--answers", type=int, default=8_000)
    given = parser.parse_args()
    with engines() as running:
        uvloop.run(main(given.pictures, given.takers, given.answers, running.postgres.url))
