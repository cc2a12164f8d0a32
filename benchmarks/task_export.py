"""The export of tasks with answers: seconds for each format, memory, the longest wait of others.

Prints Markdown. A quarter of the tasks is free, the others are answered; those of the queue have a
form and are made of stored pictures. The floor is PostgreSQL's own `COPY` of the same join, which
writes neither records nor fields. The response is run in this process and thrown away: what a
client takes in comes on top. Engines are started for the run.

    python -m benchmarks.task_export [--tasks 200000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import io
import statistics
import time
from typing import NamedTuple

import psutil
import uvloop

from atelier.database import Database
from atelier.http.exporting import SLICE
from atelier.tasks.export import Wanted, batches
from atelier.tasks.export_formats import Csv, JsonLines, Writer
from atelier.tasks.pools import QUEUE, SPACE, Pool
from benchmarks.engines import engines
from benchmarks.tasks import server_seconds

USER = """
    INSERT INTO users (email, email_folded, name, password_hash, sequence, created_at)
    VALUES ('a', 'a', 'Анна', '', 1, now()) RETURNING id
"""
QUEUE_ROW = """
    INSERT INTO queues (space_id, name, sequence, created_at) VALUES ($1, 'q', 1, now())
    RETURNING id
"""
IMAGES = """
    INSERT INTO images (owner_id, title, description, tags, blob, format, media_type, width,
        height, size, sha256, metadata, status, renditions, version, sequence, received_at,
        updated_at, offered_at)
    SELECT $1, '', '', '{}', 'images/' || n, 'PNG', 'image/png', 1, 1, 20488, '', '{}', 'ready',
        '[]', 1, 1, now(), now(), now()
    FROM generate_series($2::int + 1, $3::int) AS n
"""
TASKS = """
    INSERT INTO tasks (owner_id, queue_id, image_id, meta, free, taken_at, taken_by, completed_at,
        blob, format, media_type, size, sha256, sequence, created_at)
    SELECT $1::bigint, $2::bigint, CASE WHEN $2::bigint IS NULL THEN NULL ELSE n END,
        'Горит ли красный?', n % 4 = 0,
        CASE WHEN n % 4 > 0 THEN now() - interval '1 minute' END,
        CASE WHEN n % 4 > 0 THEN $1::bigint END, CASE WHEN n % 4 > 0 THEN now() END,
        CASE WHEN $2::bigint IS NULL THEN 'tasks/000/' || n END, 'PNG', 'image/png', 20488,
        repeat('0', 64), 3, now()
    FROM generate_series($3::int + 1, $4::int) AS n
"""
ANSWERS = """
    INSERT INTO answers (task_id, queue_id, user_id, result, at, seconds)
    SELECT id, queue_id, $1, '{"light": "red", "remark": "the left one, in the rain"}',
        completed_at, 12.345
    FROM tasks
    WHERE completed_at IS NOT NULL AND owner_id = $1 AND queue_id IS NOT DISTINCT FROM $2
"""
STEP = 20_000  # rows of one statement
FLOOR = """
    SELECT * FROM tasks LEFT JOIN answers ON task_id = tasks.id WHERE tasks.queue_id = $1
    ORDER BY tasks.id
"""


class Figure(NamedTuple):
    """Of a run: time by the clock, of processors here and in PostgreSQL, and what it took."""

    seconds: float
    cpu: float
    server_cpu: float
    megabytes: float
    longest: float
    grown: float


async def measure(database: Database, wanted: Wanted, writer: Writer, expected: int) -> Figure:
    """Write all of it, as the route does; asserts that each task is there."""
    process = psutil.Process()
    before = process.memory_info().rss
    size = count = 0
    longest = 0.0
    peak = before

    async def watch() -> None:
        nonlocal longest, peak
        while True:
            since = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - since)
            await asyncio.sleep(0.005)
            peak = max(peak, process.memory_info().rss)

    watching = asyncio.create_task(watch())
    server = await server_seconds(database)
    since, cpu = time.perf_counter(), time.process_time()
    async for rows in batches(database, wanted, writer.columns):
        for start in range(0, len(rows), SLICE):
            piece = writer.lines(rows[start : start + SLICE])
            size += len(piece)
            await asyncio.sleep(0)
        count += len(rows)
    seconds, cpu = time.perf_counter() - since, time.process_time() - cpu
    watching.cancel()
    server = await server_seconds(database) - server
    assert count == expected, (count, expected)
    return Figure(seconds, cpu, server, size / 1e6, longest * 1e3, (peak - before) / 2**20)


async def floor(database: Database, queue_id: int) -> float:
    """Seconds of PostgreSQL's `COPY`."""
    since = time.perf_counter()
    async with (await database.pool()).acquire() as connection:
        await connection.copy_from_query(FLOOR, queue_id, output=io.BytesIO(), format="csv")
    return time.perf_counter() - since


async def fill(database: Database, count: int) -> tuple[int, int]:
    """Fill a space with tasks of no queue, and a queue with as many; the space, the queue."""
    user = (await database.fetch(USER))[0]["id"]
    queue = (await database.fetch(QUEUE_ROW, user))[0]["id"]
    for start in range(0, count, STEP):
        stop = min(start + STEP, count)
        await database.fetch(IMAGES, user, start, stop)
        await database.fetch(TASKS, user, None, start, stop)
        await database.fetch(TASKS, user, queue, start, stop)
    async with (await database.pool()).acquire() as connection:
        await connection.execute("SET statement_timeout = 0")
        for where in (None, queue):
            await connection.execute(ANSWERS, user, where)
        await connection.execute("VACUUM ANALYZE")
    return user, queue


async def main(count: int, rounds: int, url: str) -> None:
    """The table."""
    database = Database(url)
    space, queue = await fill(database, count)
    form = ["light", "remark"]
    runs: dict[str, tuple[Wanted, Writer, int]] = {
        "CSV, a queue with a form": (Wanted(Pool(QUEUE, queue)), Csv(form), count),
        "CSV, a space": (Wanted(Pool(SPACE, space)), Csv(), 2 * count),
        "JSON Lines, a queue": (Wanted(Pool(QUEUE, queue)), JsonLines(), count),
        "CSV, a queue, by somebody else": (Wanted(Pool(QUEUE, queue), by=space + 1), Csv(), 0),
    }
    found: dict[str, list[Figure]] = {}
    floors = []
    for _ in range(rounds):
        for name, run in runs.items():
            found.setdefault(name, []).append(await measure(database, *run))
        floors.append(await floor(database, queue))
    print(f"load {psutil.getloadavg()[0]:.1f} on {psutil.cpu_count()} cores\n")
    print(
        f"| {count:,} tasks; for a million | s | CPU s | PostgreSQL CPU s | MB | longest turn, ms "
        "| memory grew, MiB |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, figures in found.items():
        millions = (2 if name == "CSV, a space" else 1) * count / 1e6
        *flows, longest, grown = map(statistics.median, zip(*figures, strict=True))
        seconds, cpu, server, size = (each / millions for each in flows)
        print(
            f"| {name} | {seconds:.1f} | {cpu:.1f} | {server:.1f} | {size:.0f} | {longest:.1f} "
            f"| {grown:.1f} |"
        )
    print(f"| floor: COPY | {statistics.median(floors) / count * 1e6:.1f} | | | | | |")
    await database.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with engines() as running:
        uvloop.run(main(given.tasks, given.rounds, running.postgres.url))
