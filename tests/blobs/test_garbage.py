"""Blobs and rows stay together: unreferenced blobs are collected, referenced ones are not."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import asyncpg
import pytest
from sqlalchemy import text

from atelier import locks
from atelier.blobs import garbage, new_key
from atelier.blobs.directory import DirectoryBlobs
from atelier.database import Database
from atelier.errors import NotFound, Unavailable
from atelier.events.messages import utcnow
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncSession

LATER = timedelta(hours=1)


@pytest.fixture
async def database(fresh_database_url: str) -> AsyncIterator[Database]:
    """An empty database."""
    database = Database(fresh_database_url)
    yield database
    await database.close()


@pytest.fixture
def blobs(tmp_path: Path) -> DirectoryBlobs:
    """An empty store."""
    return DirectoryBlobs(tmp_path)


async def intended(
    database: Database, blobs: DirectoryBlobs, life: timedelta | None = None
) -> str:
    """The key of a blob that is written but not claimed."""
    key = new_key("images", "original.jpg")
    await garbage.intend(database, [key], LATER if life is None else life)
    await blobs.put(key, b"picture")
    return key


async def claim(database: Database, *keys: str) -> None:
    """Claim as the transaction that makes a row does."""
    async with database.session() as session:
        await garbage.claim(session, keys)
        await session.commit()


async def discard(database: Database, *keys: str) -> None:
    """Discard as the transaction that removes a row does."""
    async with database.session() as session:
        await garbage.discard(session, keys)
        await session.commit()


async def fall_due(database: Database) -> None:
    """Let the time pass that everything listed has to wait."""
    await database.fetch("UPDATE blob_garbage SET after = clock_timestamp() - interval '1 second'")


async def listed(database: Database) -> list[str]:
    """The keys on the list."""
    return [
        row["key"] for row in await database.fetch("SELECT key FROM blob_garbage ORDER BY key")
    ]


async def exists(blobs: DirectoryBlobs, key: str) -> bool:
    """True if there is such a blob."""
    try:
        await blobs.stat(key)
    except NotFound:
        return False
    return True


async def test_a_claimed_blob_stays(database: Database, blobs: DirectoryBlobs) -> None:
    """A blob whose row was committed is not listed and never collected."""
    key = await intended(database, blobs)
    await claim(database, key)
    await fall_due(database)
    assert await garbage.collect(database, blobs) == 0
    assert await exists(blobs, key)
    assert await listed(database) == []


async def test_an_unclaimed_blob_is_collected(database: Database, blobs: DirectoryBlobs) -> None:
    """A blob whose row was never made goes when its intent is due, not before."""
    key = await intended(database, blobs)
    assert await garbage.collect(database, blobs) == 0
    assert await exists(blobs, key)
    await fall_due(database)
    assert await garbage.collect(database, blobs) == 1
    assert not await exists(blobs, key)


async def test_a_rolled_back_claim_leaves_the_intent(
    database: Database, blobs: DirectoryBlobs
) -> None:
    """When the transaction that makes the row fails, the blob stays listed."""
    key = await intended(database, blobs)
    async with database.session() as session:
        await garbage.claim(session, [key])
    assert await listed(database) == [key]


async def test_a_late_writer_leaks_nothing(database: Database, blobs: DirectoryBlobs) -> None:
    """A blob that is written after its intent was collected is refused its row and collected."""
    key = new_key("images", "a")
    await garbage.intend(database, [key], -LATER)
    await garbage.collect(database, blobs)
    await blobs.put(key, b"late")
    with pytest.raises(Unavailable):
        await claim(database, key)
    await fall_due(database)
    await garbage.collect(database, blobs)
    assert not await exists(blobs, key)
    assert await listed(database) == []


@pytest.mark.parametrize("missing", [False, True])
async def test_claims_are_all_or_nothing(
    database: Database, blobs: DirectoryBlobs, *, missing: bool
) -> None:
    """One blob that is due or was never intended spoils the claim of all."""
    good = await intended(database, blobs)
    bad = (
        new_key("images", "b")
        if missing
        else await intended(database, blobs, timedelta(seconds=-1))
    )
    before = await listed(database)
    with pytest.raises(Unavailable):
        await claim(database, good, bad)
    assert await listed(database) == before


async def test_nothing_to_do_needs_no_database(blobs: DirectoryBlobs) -> None:
    """No keys, no statement."""
    nowhere = Database("postgresql://nobody@localhost:1/nothing")
    await garbage.intend(nowhere, [], LATER)
    async with nowhere.session() as session:
        await garbage.claim(session, [])
        await garbage.discard(session, [])
    await nowhere.close()


async def test_a_discarded_blob_goes_after_its_readers(
    database: Database, blobs: DirectoryBlobs
) -> None:
    """A blob whose row was removed stays for its last readers, then goes with its entry."""
    key = await intended(database, blobs)
    await claim(database, key)
    await discard(database, key, key)
    assert await garbage.collect(database, blobs) == 0
    assert await exists(blobs, key)
    await fall_due(database)
    assert await garbage.collect(database, blobs) == 1
    assert not await exists(blobs, key)
    assert await listed(database) == []


async def test_a_discarded_blob_cannot_be_claimed(
    database: Database, blobs: DirectoryBlobs
) -> None:
    """Removed blobs do not come back."""
    key = await intended(database, blobs)
    await claim(database, key)
    await discard(database, key)
    with pytest.raises(Unavailable):
        await claim(database, key)


async def test_an_abandoned_upload_goes_early(database: Database, blobs: DirectoryBlobs) -> None:
    """Discarding a blob that was not claimed yet brings its end forward."""
    key = await intended(database, blobs)
    await discard(database, key)
    row = await database.fetchrow("SELECT after FROM blob_garbage WHERE key = $1", key)
    assert row is not None
    assert row["after"] < utcnow() + timedelta(minutes=1)


async def test_a_missing_blob_is_collected_as_well(
    database: Database, blobs: DirectoryBlobs
) -> None:
    """An entry whose blob is gone, as after a collector's crash, is removed like any other."""
    key = await intended(database, blobs)
    await claim(database, key)
    await discard(database, key)
    await blobs.delete([key])
    await fall_due(database)
    assert await garbage.collect(database, blobs) == 1
    assert await listed(database) == []


@pytest.mark.parametrize("batch", [1, 2, 5, 6])
async def test_everything_due_is_collected(
    database: Database, blobs: DirectoryBlobs, batch: int
) -> None:
    """However many blobs are due, one call removes them all, batch by batch, and no other."""
    keys = [await intended(database, blobs, timedelta(seconds=-1)) for _ in range(5)]
    kept = await intended(database, blobs)
    assert await garbage.collect(database, blobs, batch) == 5
    assert [await exists(blobs, key) for key in [*keys, kept]] == [False] * 5 + [True]


async def test_a_claim_waits_for_no_collector_and_fails(
    database: Database, blobs: DirectoryBlobs
) -> None:
    """A claim that meets a collector at work on its blob fails once that has finished."""
    key = await intended(database, blobs, timedelta(seconds=-1))
    async with database.session() as collector:
        await collector.execute(text(garbage.DUE), {"limit": 10})
        claiming = asyncio.create_task(claim(database, key))
        await waits_for_lock(database)
        await collector.execute(text("DELETE FROM blob_garbage"))
        await collector.commit()
    with pytest.raises(Unavailable):
        await claiming


async def test_a_claim_after_a_collector_that_died_fails(
    database: Database, blobs: DirectoryBlobs
) -> None:
    """When a collector is killed after removing a blob, the waiting claim on it still fails."""
    key = await intended(database, blobs, timedelta(seconds=-1))
    collector = await asyncpg.connect(database.url)
    transaction = collector.transaction()
    await transaction.start()
    await collector.fetch(garbage.DUE.replace(":limit", "10"))
    await blobs.delete([key])
    claiming = asyncio.create_task(claim(database, key))
    await waits_for_lock(database)
    collector.terminate()
    with pytest.raises(Unavailable):
        await claiming


async def claimed_in_time(session: AsyncSession, database: Database, blobs: DirectoryBlobs) -> str:
    """The key of a blob that is due soon after it was claimed in this transaction."""
    for seconds in (0.3, 3, 30):  # whichever a busy machine needs for two statements
        key = await intended(database, blobs, timedelta(seconds=seconds))
        try:
            await garbage.claim(session, [key])
        except Unavailable:
            await session.rollback()
            await discard(database, key)
        else:
            return key
    raise AssertionError("it could not be claimed in half a minute")


async def test_a_collector_passes_by_a_claim(database: Database, blobs: DirectoryBlobs) -> None:
    """A blob that is due but was claimed in time by an open transaction is left alone."""
    async with database.session() as session:
        key = await claimed_in_time(session, database, blobs)
        due = "SELECT FROM blob_garbage WHERE key = $1 AND after < clock_timestamp()"
        await eventually(partial(database.fetch, due, key))
        assert await garbage.collect(database, blobs) == 0
        await session.commit()
    assert await garbage.collect(database, blobs) == 0
    assert await exists(blobs, key)


async def test_nothing_goes_while_a_backup_holds_it(
    database: Database, blobs: DirectoryBlobs
) -> None:
    """Neither the collector nor a deletion removes a blob while a backup runs.

    Afterwards the collector does.
    """
    keys = [await intended(database, blobs) for _ in range(2)]
    await claim(database, *keys)
    await discard(database, *keys)
    await fall_due(database)
    holder = await asyncpg.connect(database.url)
    await holder.execute(f"SELECT pg_advisory_lock({locks.BLOB_REMOVAL})")
    assert await garbage.collect(database, blobs) == 0
    await garbage.remove(database, blobs, keys[:1])
    assert [await exists(blobs, key) for key in keys] == [True, True]
    assert await listed(database) == sorted(keys)
    await holder.close()
    await garbage.remove(database, blobs, keys[:1])
    assert [await exists(blobs, key) for key in keys] == [False, True]
    assert await garbage.collect(database, blobs) == 2
    assert not await exists(blobs, keys[1])


async def waits_for_lock(database: Database) -> None:
    """Return when somebody waits for a lock of this database."""
    query = (
        "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = "
        "current_database()"
    )
    await eventually(partial(database.fetch, query))


async def test_claims_race_collectors(database: Database, blobs: DirectoryBlobs) -> None:
    """However they interleave: claimed blobs are there, refused ones are gone in the end."""
    chance = random.Random(4)
    # Too late, in a race that either may win, and in good time, however slow the machine is.
    terms = timedelta(seconds=-1), timedelta(milliseconds=20), LATER
    claimed: dict[str, bool] = {}
    stop = asyncio.Event()

    async def uploader() -> None:
        for _ in range(25):
            key = await intended(database, blobs, chance.choice(terms))
            await asyncio.sleep(chance.uniform(0, 0.03))
            try:
                await claim(database, key)
            except Unavailable:
                claimed[key] = False
            else:
                claimed[key] = True

    async def collector() -> None:
        while not stop.is_set():
            await garbage.collect(database, blobs, batch=chance.randint(1, 5))

    collectors = [asyncio.create_task(collector()) for _ in range(3)]
    await asyncio.gather(*(uploader() for _ in range(4)))
    stop.set()
    await asyncio.gather(*collectors)
    await fall_due(database)
    await garbage.collect(database, blobs)
    assert {True, False} == set(claimed.values())
    assert {key: await exists(blobs, key) for key in claimed} == claimed
