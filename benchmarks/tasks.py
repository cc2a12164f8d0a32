"""Hand-out and creation of tasks: takes per second and p99 at growing numbers of tasks.

Prints Markdown. Members of one team take from its space as many do from their own.

Rounds are interleaved, figures are medians. In the same run: the floor (each taker updates a row
that it knows, with its event), and the same hand-out without SKIP LOCKED. Engines are started for
the run, PostgreSQL with fsync.

    python -m benchmarks.tasks [--sizes 1000,100000,1000000] [--takers 32] [--rounds 5] [--takes
    1600]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from atelier.blobs.directory import DirectoryBlobs
from atelier.database import Database
from atelier.http.resources import PROBERS
from atelier.tasks import events, handout, service
from atelier.tasks.pools import SPACE, Pool
from atelier.tasks.watermarks import Watermarks
from atelier.wire.allowance import Allowance
from benchmarks.engines import engines
from benchmarks.usage import cpu_seconds

Take = Callable[[Database, int], Awaitable[Any]]

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20 * 1024)
CREATING_SECONDS = 4
FILL = """
    INSERT INTO tasks (owner_id, meta, free, blob, format, media_type, size, sha256,
      sequence, created_at)
    SELECT $1, 'Is the light red?', true, 'tasks/000/' || n, 'PNG', 'image/png', 20488,
      repeat('0', 64), 1, now()
    FROM generate_series(1, $2::bigint) AS n
"""
USER = """
    INSERT INTO users (email, email_folded, password_hash, sequence, created_at)
    VALUES ($1, $1, '', 1, now()) RETURNING id
"""
TEAM = "INSERT INTO spaces (name, created_at) VALUES ('team', now()) RETURNING id"
KNOWN = f"""
    WITH taken AS (
        UPDATE tasks SET free = false, sequence = sequence + 1, taken_at = clock_timestamp()
        WHERE id = $1 RETURNING *
    ), announced AS (
        {events.announce(events.TAKEN, "taken", "NULL")}
    )
    SELECT id FROM taken
"""
FLOORS = Watermarks()
WAITING = handout.TAKES[SPACE].replace(" SKIP LOCKED", "")


class Figure(NamedTuple):
    """Takes per second, milliseconds (median, 99th percentile), CPU microseconds per take."""

    rate: float
    median: float
    p99: float
    cpu: float
    server_cpu: float


async def ours(database: Database, owner_id: int) -> int:
    """As the API does it."""
    pool = Pool(SPACE, owner_id)
    return int((await handout.take(database.fetchrow, FLOORS, owner_id, pool, None))["id"])


async def waiting(database: Database, owner_id: int) -> int:
    """The same statement without SKIP LOCKED: a client that finds the row taken asks again."""
    while True:
        row = await database.fetchrow(WAITING, owner_id, None, 0, None, owner_id)
        if row:
            return int(row["id"])


async def measure(
    database: Database, take: Take, owner_id: int, takers: int, takes: int
) -> Figure:
    """Have `takers` take `takes` in all; asserts that no two got the same task."""
    seconds: list[float] = []
    ids: list[int] = []

    async def work(count: int) -> None:
        for _ in range(count):
            since = time.perf_counter()
            ids.append(await take(database, owner_id))
            seconds.append(time.perf_counter() - since)

    server = await server_seconds(database)
    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work(takes // takers) for _ in range(takers)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    server = await server_seconds(database) - server
    assert len(set(ids)) == len(ids)
    seconds.sort()
    percentiles = statistics.quantiles(seconds, n=100)
    return Figure(
        len(ids) / wall,
        percentiles[49] * 1e3,
        percentiles[98] * 1e3,
        cpu / len(ids) * 1e6,
        server / len(ids) * 1e6,
    )


async def server_seconds(database: Database) -> float:
    """CPU time that the connections' processes have used so far."""
    query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
    return cpu_seconds(*(each["pid"] for each in await database.fetch(query)))


def row(name: str, figures: list[Figure]) -> str:
    """One line of the table: medians over the rounds."""
    rate, median, p99, cpu, server = (
        statistics.median(column) for column in zip(*figures, strict=True)
    )
    return f"| {name} | {rate:,.0f} | {median:.1f} | {p99:.1f} | {cpu:.0f} | {server:.0f} |"


async def fill(database: Database, owner_id: int, count: int) -> None:
    """Give a user tasks, as many at once as no statement timeout minds."""
    for start in range(0, count, 100_000):
        await database.fetch(FILL, owner_id, min(100_000, count - start))


async def new_user(database: Database, numbers: itertools.count[int] = itertools.count()) -> int:  # noqa: B008 - one counter for the run
    """A user."""
    made = await database.fetchrow(USER, f"user{next(numbers)}@example.org")
    assert made
    return int(made["id"])


async def new_team(database: Database) -> int:
    """The space of a team."""
    made = await database.fetchrow(TEAM)
    assert made
    return int(made["id"])


async def handing_out(
    database: Database, sizes: list[int], takers: int, rounds: int, takes: int
) -> None:
    """The table of takes."""
    owners = {f"{size:,} tasks": (await new_user(database), size) for size in sizes}
    owners |= {
        f"{size:,} tasks of a team": (await new_team(database), size) for size in sizes[-1:]
    }
    for owner, size in owners.values():
        await fill(database, owner, size)
    known_owner, waiting_owner = await new_user(database), await new_user(database)
    for owner in (known_owner, waiting_owner):
        await fill(database, owner, rounds * takes)
    warm = await new_user(database)
    await fill(database, warm, 50 * takers)
    ids = iter(
        [
            r["id"]
            for r in await database.fetch("SELECT id FROM tasks WHERE owner_id = $1", known_owner)
        ]
    )
    await database.fetch("VACUUM ANALYZE tasks")
    await measure(
        database, ours, warm, takers, 40 * takers
    )  # opens the connections, makes the plans

    async def known(database: Database, _: int) -> int:
        found = await database.fetchrow(KNOWN, next(ids))
        assert found
        return int(found["id"])

    found: dict[str, list[Figure]] = {}
    for _ in range(rounds):
        for name, (owner, size) in owners.items():
            figure = await measure(database, ours, owner, takers, min(takes, size))
            found.setdefault(name, []).append(figure)
            await fill(database, owner, min(takes, size))
        floor = await measure(database, known, known_owner, takers, takes)
        found.setdefault("floor: rows known beforehand", []).append(floor)
        without = await measure(database, waiting, waiting_owner, takers, takes // 4)
        found.setdefault("without SKIP LOCKED", []).append(without)
    print(f"| {takers} takers | takes/s | p50 ms | p99 ms | client CPU us | PostgreSQL CPU us |")
    print("|---|---|---|---|---|---|")
    for name, figures in found.items():
        print(row(name, figures))


async def creating(database: Database, folder: Path) -> None:
    """The table of creations: image on disk with fsync, row, counter, total, event."""
    blobs = DirectoryBlobs(folder)
    probers = ThreadPoolExecutor(PROBERS)
    picture = service.Picture(PNG, "0" * 64, len(PNG))

    async def nothing(*_: object) -> None:
        """There is no key to keep an answer under."""

    async def work(owner_id: int, deadline: float) -> int:
        count = 0
        while time.monotonic() < deadline:
            await service.create(
                database,
                blobs,
                probers,
                space_id=owner_id,
                created_by=owner_id,
                queue_id=None,
                picture=picture,
                meta="Is the light red?",
                allowed=Allowance(),
                before_commit=nothing,
            )
            count += 1
        return count

    print("\n| 32 creators, 20 KB images | tasks/s |\n|---|---|")
    for users in (1, 32):
        owners = [await new_user(database) for _ in range(users)]
        since = time.monotonic()
        counts = await asyncio.gather(
            *(
                work(owner, since + CREATING_SECONDS)
                for owner, _ in zip(itertools.cycle(owners), range(32), strict=False)
            )
        )
        print(
            f"| of {users} user{'s' * (users > 1)} | "
            f"{sum(counts) / (time.monotonic() - since):,.0f} |"
        )
    query = (
        "SELECT (SELECT sum(tasks_created) FROM users) = (SELECT sum(created) FROM "
        "task_totals) AS exact"
    )
    exact: Mapping[str, Any] | None = await database.fetchrow(query)
    assert exact
    assert exact["exact"]


async def main(arguments: argparse.Namespace, url: str, folder: Path) -> None:
    """Both tables."""
    database = Database(url, connections=arguments.takers)
    sizes = [int(size) for size in arguments.sizes.split(",")]
    await handing_out(database, sizes, arguments.takers, arguments.rounds, arguments.takes)
    await creating(database, folder)
    await database.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1000,100000,1000000")
    parser.add_argument("--takers", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--takes", type=int, default=1600)
    given = parser.parse_args()
    with engines() as running:
        uvloop.run(main(given, running.postgres.url, running.folder / "blobs"))
