"""The library: lists at a million pictures, tags, the index, changes of a thousand, exports.

Prints Markdown. Pages are of 50 records, read through the functions that the routes call, from the
beginning and from somewhere inside; each of the pictures has three tags of a thousand, four
renditions and a date of its own. Engines are started for the run; HTTP comes on top.

    python -m benchmarks.images_library [--pictures 1000000] [--rounds 40]
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from pathlib import Path
from typing import Any

import psutil
import uvloop
from redis.asyncio import Redis

from atelier.auth import Principal, Role
from atelier.blobs import new_key
from atelier.blobs.directory import DirectoryBlobs
from atelier.cache import Cache
from atelier.database import Database
from atelier.http.packed import pack
from atelier.images import batch, columns, queries
from atelier.images.archive_zip import archive
from atelier.images.export import Csv, JsonLines, batches
from atelier.images.listing import Date, Filters
from atelier.wire.moments import microseconds, moment
from benchmarks.engines import Engines, engines
from benchmarks.task_export import USER

IMAGES = """
    INSERT INTO images (owner_id, created_by, title, description, tags, blob, format, media_type,
        width, height, size, sha256, metadata, status, renditions, version, sequence, received_at,
        updated_at, offered_at)
    SELECT $1::bigint, $1::bigint, 'IMG_' || n || '.jpg', '',
        ARRAY['scans', 'box ' || n / 1000, 'row ' || n % 100]
            || CASE WHEN n % 10000 = 5 THEN ARRAY['rare'] ELSE '{}' END,
        'images/' || substr(key, 1, 3) || '/' || substr(key, 4) || '-original.jpg',
        CASE WHEN n % 1000 = 7 THEN 'TIFF' ELSE 'JPEG' END, 'image/jpeg',
        3000 + n % 7 * 100, 2000 + n % 5 * 100, 1000000, md5(n::text) || md5(n::text),
        jsonb_build_object('mode', 'RGB', 'frames', 1, 'bit_depth', 8, 'exif', jsonb_build_object(
            'make', 'Canon', 'model', 'Canon EOS 5D', 'iso', 100, 'taken_at', to_char(
                timestamp '2001-01-01' + n * interval '7 minutes', 'YYYY-MM-DD"T"HH24:MI:SS'))),
        CASE WHEN n % 5000 = 9 THEN 'failed' ELSE 'ready' END,
        (SELECT jsonb_agg(jsonb_build_object('name', name, 'width', 500, 'height', 375,
            'size', 31480, 'format', 'JPEG', 'lossless', false, 'blob', 'images/'
            || substr(key, 1, 3) || '/' || substr(key, 4) || '-' || name || '.jpg'))
         FROM unnest(ARRAY['100x100', '500x500', 'gray', 'upright']) AS name),
        1, 2, timestamptz '2020-01-01' + n * interval '3 minutes', now(), now()
    FROM (SELECT n, md5('key' || n || $1::bigint) AS key
        FROM generate_series($2::int + 1, $3::int) AS n) AS numbered
"""
FILES, FILE_BYTES = 200, 2_500_000  # of an archive
STEP = 20_000  # rows of one statement
DAYS = "2023-01-01T00:00:00Z", "2023-02-01T00:00:00Z"
LISTS: dict[str, dict[str, Any]] = {
    "all": {},
    "status=failed (0.02 %)": {"status": "failed"},
    "status=ready": {"status": "ready"},
    "format=TIFF (0.1 %)": {"format": "TIFF"},
    "tag, of all": {"tags": ("scans",)},
    "tag, of 1,000": {"tags": ("box 77",)},
    "tag, of 100": {"tags": ("rare",)},
    "tag, of none": {"tags": ("none",)},
    "uploaded in a month": {"since": moment(DAYS[0]), "until": moment(DAYS[1])},
    "by date taken": {"date": Date.TAKEN},
    "two tags, of 10": {"tags": ("box 77", "row 3")},
    "two tags, of 10,000": {"tags": ("scans", "row 3")},
    "a tag of all, failed": {"tags": ("scans",), "status": "failed"},
    "a tag of 1,000 by date": {"tags": ("box 77",), "date": Date.TAKEN},
    "q, of a few": {"q": "IMG_77777"},
}


async def fill(database: Database, count: int) -> int:
    """Fill a space with pictures; its id."""
    user: int = (await database.fetch(USER))[0]["id"]
    async with (await database.pool()).acquire() as connection:
        await connection.execute("SET statement_timeout = 0")
        for start in range(0, count, STEP):
            await connection.execute(IMAGES, user, start, min(start + STEP, count))
        await connection.execute("VACUUM ANALYZE")
    return user


def inside(filters: Filters, count: int) -> tuple[int, ...]:
    """A position somewhere in a list."""
    number = random.randrange(1, count)
    if filters.by_id:
        return (number,)
    return microseconds(moment("2001-01-01T00:00:00Z")) + number * 420_000_000, number


async def lists(database: Database, user: int, count: int, rounds: int) -> None:
    """Print the table of pages and counts."""
    print(f"| page of 50, of {count:,}; ms | p50 | p95 | count |")
    print("|---|---|---|---|")
    for name, facts in LISTS.items():
        filters, seconds = Filters(user, **facts), []
        for number in range(rounds):
            place = inside(filters, count) if number % 2 else None
            since = time.perf_counter()
            await queries.page(database, user_id=user, filters=filters, position=place, limit=51)
            seconds.append(time.perf_counter() - since)
        cuts = [each * 1e3 for each in statistics.quantiles(seconds, n=20)]
        since = time.perf_counter()
        found, exact = await queries.count(database, user_id=user, filters=filters)
        counted = (time.perf_counter() - since) * 1e3
        shown = f"{found:,}{'' if exact else '+'}"
        print(f"| {name} | {cuts[9]:.1f} | {cuts[18]:.1f} | {shown} in {counted:.0f} |")


async def tags(database: Database, user: int, rounds: int) -> None:
    """Print what the counts of tags take."""
    for prefix in ("", "box 7"):
        seconds = []
        for _ in range(max(3, rounds // 8)):
            since = time.perf_counter()
            found = await queries.tags(
                database, user_id=user, space_id=user, prefix=prefix, limit=1000
            )
            seconds.append(time.perf_counter() - since)
        took = statistics.median(seconds) * 1e3
        print(f"\n{len(found)} tags with counts, beginning with {prefix!r}: {took:.0f} ms")


async def index(database: Database, user: int) -> None:
    """Print what the index of a hundred thousand takes."""
    seconds, packing = [], []
    for _ in range(5):
        since = time.perf_counter()
        found, _ = await columns.read(
            database,
            user_id=user,
            filters=Filters(user),
            rendition="500x500",
            position=None,
            limit=columns.MOST,
        )
        body = found.json()
        seconds.append(time.perf_counter() - since)
        packed, _ = pack(body, packs=True)
        packing.append(time.perf_counter() - since - seconds[-1])
    print(
        f"\nindex of {found.count:,}: {statistics.median(seconds):.2f} s, compressed in "
        f"{statistics.median(packing):.2f} s, {len(body):,} bytes, {len(packed):,} of gzip"
    )


async def changes(database: Database, cache: Cache, user: int) -> None:
    """Print what changes of a thousand pictures take."""
    principal = Principal(user, "session", roles={user: Role.OWNER})
    found = await database.fetch("SELECT id FROM images WHERE owner_id = $1 LIMIT 1000", user)
    ids = [row["id"] for row in found]
    for name in ("tag", "untag", "delete"):
        since = time.perf_counter()
        async with database.session() as session:
            if name == "delete":
                await batch.delete(session, cache, principal=principal, ids=ids)
            else:
                await batch.tag(
                    session,
                    cache,
                    principal=principal,
                    ids=ids,
                    tags=["new"],
                    remove=name == "untag",
                )
            await session.commit()
        print(f"\n{name} of {len(ids):,}: {(time.perf_counter() - since) * 1e3:.0f} ms")


async def exports(database: Database, user: int, folder: Path) -> None:
    """Print what exports take: lines of all, and an archive of files."""
    for writer in (Csv(), JsonLines()):
        since, size = time.perf_counter(), 0
        async for rows in batches(database, Filters(user)):
            size += len(writer.lines(rows))
        seconds = time.perf_counter() - since
        print(f"\n{type(writer).__name__} of all: {seconds:.1f} s, {size / 1e6:.0f} MB")
    blobs, keys = DirectoryBlobs(folder / "blobs"), []
    for _ in range(FILES):
        keys.append(new_key("images", "original.jpg"))
        await blobs.put(keys[-1], random.randbytes(FILE_BYTES))
    await database.fetch(
        "UPDATE images SET blob = keys.key FROM ("
        "SELECT id, key FROM unnest($2::text[]) WITH ORDINALITY AS each (key, place) JOIN ("
        "SELECT id, row_number() OVER (ORDER BY id) AS place FROM images WHERE owner_id = $1 "
        "ORDER BY id LIMIT $3) AS found USING (place)) AS keys WHERE images.id = keys.id",
        user,
        keys,
        FILES,
    )
    found = await database.fetch(
        "SELECT id FROM images WHERE owner_id = $1 ORDER BY id LIMIT $2", user, FILES
    )
    ids, process = [row["id"] for row in found], psutil.Process()
    for number in range(2):
        before = peak = process.memory_info().rss
        since, size = time.perf_counter(), 0
        chosen = batches(database, Filters(user), ids)
        async for piece in archive(blobs, chosen, "original", folder):
            size += len(piece)
            peak = max(peak, process.memory_info().rss)
        rate = size / 1e6 / (time.perf_counter() - since)
        print(f"\narchive, run {number + 1}: {size / 1e6:.0f} MB at {rate:.0f} MB/s, ", end="")
        print(f"memory grew by {(peak - before) / 2**20:.0f} MiB")


async def main(count: int, rounds: int, running: Engines) -> None:
    """All tables."""
    url = running.postgres.url
    random.seed(1)
    database = Database(url)
    since = time.perf_counter()
    user = await fill(database, count)
    print(f"filled in {time.perf_counter() - since:.0f} s; load {psutil.getloadavg()[0]:.1f} ")
    print(f"on {psutil.cpu_count()} cores\n", flush=True)
    await lists(database, user, count, rounds)
    await tags(database, user, rounds)
    await index(database, user)
    await exports(database, user, running.folder)
    cache = Cache(Redis.from_url(running.valkey.url))
    await changes(database, cache, user)
    await cache.close()
    await database.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=40)
    given = parser.parse_args()
    with engines() as running:
        uvloop.run(main(given.pictures, given.rounds, running))
