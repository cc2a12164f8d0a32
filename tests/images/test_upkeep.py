"""Upkeep of images: the check finds disagreement, and lost jobs are sent again."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from redis.asyncio import Redis

from atelier import bootstrap
from atelier.blobs import new_key
from atelier.blobs.directory import DirectoryBlobs
from atelier.blobs.mark import written
from atelier.commands import check as checking
from atelier.commands.check import check
from atelier.commands.repair import Mended, repair
from atelier.database import Database
from atelier.errors import Unavailable
from atelier.events.messages import (
    ProcessImage,
    RejectImage,
    StoreImage,
    decode_process,
    encode,
    utcnow,
)
from atelier.images import archive, jobs
from atelier.imaging.fontfiles import BUNDLED
from atelier.imaging.recipe import Rendition
from atelier.roles.processor import Captions, Processor
from atelier.sandbox.failures import DecodeCrashed, DecodeFailed, DecodeTimeout
from atelier.trash import service as trash

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from atelier.blobs import Blobs
    from atelier.settings import Settings
    from tests.images.conftest import Person

WAITING = (
    "SELECT pid FROM pg_stat_activity WHERE state LIKE 'idle in%' AND datname = current_database()"
)


@pytest.fixture
async def database(fresh_database_url: str, settings: Settings) -> AsyncIterator[Database]:
    """A database of the test's own."""
    database = Database(fresh_database_url)
    yield database
    await database.close()


@pytest.fixture
def settings(settings: Settings, fresh_database_url: str) -> Settings:
    """The instance on a database of its own, so that the check sees this test's rows alone."""
    return settings.model_copy(
        update={"database_url": type(settings.redis_url)(fresh_database_url)}
    )  # type: ignore[misc,call-arg]


async def test_the_check_agrees_with_what_was_made(
    ada: Person, settings: Settings, database: Database, workers: None
) -> None:
    """After uploads, new captions and deletions each blob has one reference and a right digest."""
    first = await ada.settled((await ada.upload(description="one"))["id"])
    await ada.client.patch(first["url"], json={"description": "two"})
    await ada.settled(first["id"])
    gone = await ada.settled((await ada.upload())["id"])
    await ada.client.delete(gone["url"])
    report = await check(database, DirectoryBlobs(settings.blobs_folder), deep=True)
    assert report.agrees
    assert report.references == 9, "what is in the trash is referred to"
    assert await trash.purge_due(database, 0) == 1
    report = await check(database, DirectoryBlobs(settings.blobs_folder), deep=False)
    assert report.agrees
    assert report.references == 5


async def test_the_check_names_what_is_missing_orphaned_or_corrupt(
    ada: Person, settings: Settings, database: Database
) -> None:
    """A missing file, one without a reference and one that was altered are each found by key."""
    keys = [(await ada.upload())["file_path"] for _ in range(2)]
    blobs = DirectoryBlobs(settings.blobs_folder)
    (settings.blobs_folder / keys[0]).unlink()
    altered = settings.blobs_folder / keys[1]
    altered.chmod(0o600)
    altered.write_bytes(b"other")
    await blobs.put("images/abc/stray", b"x")
    report = await check(database, blobs, deep=True)
    assert (report.missing, report.orphaned, report.corrupt) == (
        [keys[0]],
        ["images/abc/stray"],
        [keys[1]],
    )
    assert not report.agrees


async def test_originals_are_read_page_by_page(
    ada: Person, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are, few digests are in memory at once.

    Meanwhile no transaction holds up vacuum.
    """
    monkeypatch.setattr(checking, "PAGE", 2)
    keys = {(await ada.upload())["file_path"] for _ in range(5)}
    blobs, waiting = DirectoryBlobs(settings.blobs_folder), []
    for key in keys:
        (settings.blobs_folder / key).write_bytes(b"other")
    differs = checking._differs

    async def look(blobs: Blobs, key: str, sha256: str) -> bool:
        waiting.extend(await database.fetch(WAITING))
        return await differs(blobs, key, sha256)

    monkeypatch.setattr(checking, "_differs", look)
    assert set((await check(database, blobs, deep=True)).corrupt) == keys
    assert waiting == []


async def test_a_repair_mends_what_can_be_mended(
    ada: Person, settings: Settings, database: Database, workers: None
) -> None:
    """Lost renditions are made again, orphans of ours become garbage.

    A lost original and strange files are left.
    """
    lost, kept = [await ada.settled((await ada.upload())["id"]) for _ in range(2)]
    blobs = DirectoryBlobs(settings.blobs_folder)
    renditions = await database.fetch(
        "SELECT renditions ->> 0 AS one FROM images WHERE id = $1", kept["id"]
    )
    rendition = orjson.loads(renditions[0]["one"])["blob"]
    orphan = new_key("images", "original.jpg")
    await blobs.put(orphan, b"x")
    await blobs.put("notes/mine", b"x")
    await blobs.delete([rendition, lost["file_path"]])
    report = await check(database, blobs)
    assert (sorted(report.missing), sorted(report.orphaned)) == (
        sorted([rendition, lost["file_path"]]),
        sorted([orphan, "notes/mine"]),
    )
    assert await repair(
        settings, database, missing=report.missing, orphaned=report.orphaned
    ) == Mended(images=1, files=0, orphans=1)
    await backdate(database, 7200)
    async with Redis.from_url(settings.redis_url.get_secret_value()) as redis:
        assert await reoffer(settings, database, redis) == 1
    assert (await ada.settled(kept["id"]))["status"] == "ready"
    report = await check(database, blobs)
    assert (report.missing, report.orphaned) == ([lost["file_path"]], ["notes/mine"])
    waiting = await database.fetch("SELECT key FROM blob_garbage WHERE NOT intent")
    assert orphan in {row["key"] for row in waiting}
    assert report.waiting == len(waiting) - 1  # all but the rendition that was lost


async def test_a_gap_in_the_events_is_found(
    ada: Person, settings: Settings, database: Database
) -> None:
    """A subject whose events are not numbered without a gap is named."""
    record = await ada.upload()
    await ada.client.patch(record["url"], json={"title": "a"})
    await ada.client.patch(record["url"], json={"title": "b"})
    await database.fetch(
        "DELETE FROM outbox WHERE subject = $1 AND sequence = 2", f"images/{record['id']}"
    )
    report = await check(database, DirectoryBlobs(settings.blobs_folder))
    assert report.gaps == [f"images/{record['id']}"]


async def backdate(database: Database, seconds: float) -> None:
    """Let every row have waited for so long."""
    await database.fetch(
        "UPDATE images SET offered_at = offered_at - $1::interval", timedelta(seconds=seconds)
    )


async def reoffer(settings: Settings, database: Database, redis: Redis) -> int:
    """One round of the reconciler."""
    queues = bootstrap.process_lanes(settings, redis), bootstrap.store_queue(settings, redis)
    async with database.session() as session:
        return await jobs.reoffer(session, settings, *queues)


async def test_lost_jobs_are_offered_again(
    ada: Person, settings: Settings, database: Database, redis: Redis
) -> None:
    """After a wipe the row's job is sent again, once per period, with the same key and version."""
    record = await ada.upload(description="one")
    await redis.flushdb()
    assert await reoffer(settings, database, redis) == 0
    await backdate(database, 7200)
    assert await reoffer(settings, database, redis) == 1
    assert await reoffer(settings, database, redis) == 0
    [(_, fields)] = await redis.xrange("process")
    job = decode_process(next(iter(fields.values())))
    assert (job.image_id, job.version, job.blob, job.picture) == (
        record["id"],
        1,
        record["file_path"],
        None,
    )


async def test_waiting_jobs_are_not_offered_again(
    ada: Person, settings: Settings, database: Database, redis: Redis
) -> None:
    """Rows behind the oldest outstanding job wait for their turn, however long that takes."""
    await ada.upload()
    await ada.upload()
    lanes = bootstrap.process_lanes(settings, redis)
    assert await reoffer(settings, database, redis) == 0
    assert await lanes.depth() == 2


async def test_final_rows_are_left_alone(
    ada: Person, settings: Settings, database: Database, redis: Redis, workers: None
) -> None:
    """A row that is ready or failed is never offered again."""
    await ada.settled((await ada.upload())["id"])
    await backdate(database, 7200)
    assert await reoffer(settings, database, redis) == 0


def outcome(image_id: int, version: int) -> StoreImage:
    """A processed picture as the image processor would send it."""
    picture = Rendition("gray", 1, 1, "JPEG", b"jpeg")
    return StoreImage(image_id, version, "", utcnow(), (picture,))


@pytest.mark.parametrize("version", [0, 2])
async def test_late_and_early_results_change_nothing(
    ada: Person, settings: Settings, database: Database, redis: Redis, version: int
) -> None:
    """A result for another version of the row is dropped, and its blobs become garbage."""
    record = await ada.upload()
    cache = _cache(redis)
    blobs = DirectoryBlobs(settings.blobs_folder)
    await archive.store(
        database, blobs, cache, [outcome(record["id"], version), outcome(record["id"] + 999, 1)]
    )
    await cache.close()
    assert (await ada.client.get(record["url"] + "/info")).json()["status"] == "queued"
    assert (await check(database, blobs)).agrees


async def test_a_result_that_comes_twice_counts_once(
    ada: Person, settings: Settings, database: Database, redis: Redis
) -> None:
    """Of equal results, in one batch or in turn, only the first is stored and announced."""
    record = await ada.upload()
    cache = _cache(redis)
    blobs = DirectoryBlobs(settings.blobs_folder)
    await archive.store(
        database, blobs, cache, [outcome(record["id"], 1), outcome(record["id"], 1)]
    )
    first = (await ada.client.get(record["url"] + "/info")).json()
    await archive.store(database, blobs, cache, [outcome(record["id"], 1)])
    late = RejectImage(record["id"], 1, "decode-crashed", "too late")
    await archive.store(database, blobs, cache, [late])
    await cache.close()
    assert (await ada.client.get(record["url"] + "/info")).json() == first
    assert first["status"] == "ready"
    rows = await database.fetch(
        "SELECT type FROM outbox WHERE subject = $1", f"images/{record['id']}"
    )
    assert [row["type"] for row in rows] == ["image.created", "image.processed"]
    assert (await check(database, blobs)).agrees


async def test_a_dead_job_fails_its_picture_and_can_be_sent_again(
    ada: Person, settings: Settings, database: Database, redis: Redis
) -> None:
    """A job that has used up its attempts fails the picture, and its reason hides internals."""
    record = await ada.upload()
    store = bootstrap.store_queue(settings, redis)
    processor = Processor(
        settings, DirectoryBlobs(settings.blobs_folder), None, store, Captions(settings, BUNDLED)
    )  # type: ignore[arg-type]
    job = _Job(
        encode(
            ProcessImage(
                record["id"], 1, "", utcnow(), jobs.recipe(settings, ""), record["file_path"]
            )
        )
    )
    await processor.give_up(job, "failed: RuntimeError: /secret/path")  # type: ignore[arg-type]
    [(_, fields)] = await redis.xrange("store")
    body = next(iter(fields.values()))
    assert b"not-processed" in body
    assert b"/secret/path" not in body


class Hungry:
    """A sandbox whose child is always killed for its limit."""

    def __init__(self, failure: DecodeFailed) -> None:
        self._failure = failure

    async def call(self, *_: object) -> None:
        """Fail."""
        raise self._failure


@pytest.mark.parametrize(
    ("failure", "tried"), [(DecodeTimeout("slow"), 2), (DecodeCrashed("dead"), 4)]
)
async def test_a_limit_is_met_twice_and_a_crash_as_often_as_there_are_attempts(
    settings: Settings, redis: Redis, failure: DecodeFailed, tried: int
) -> None:
    """The picture fails with the reason after so many deliveries of its job."""
    blobs, store = DirectoryBlobs(settings.blobs_folder), bootstrap.store_queue(settings, redis)
    captions = Captions(settings, BUNDLED)
    hungry: Any = Hungry(failure)
    processor = Processor(settings, blobs, hungry, store, captions)
    message = ProcessImage(1, 1, "", utcnow(), jobs.recipe(settings, ""), "", b"picture")
    job = _Job(encode(message))
    for deliveries in range(1, tried):
        job.deliveries = deliveries
        with pytest.raises(type(failure)):
            await processor.process(job)  # type: ignore[arg-type]
    job.deliveries = tried
    await processor.process(job)  # type: ignore[arg-type]
    [(_, fields)] = await redis.xrange("store")
    assert failure.slug.encode() in next(iter(fields.values()))


async def test_a_missing_mount_is_no_deletion(
    settings: Settings, redis: Redis, tmp_path: Path
) -> None:
    """Where the processor sees no store at all, a job waits.

    In a store that is one, its picture was deleted.
    """
    blobs = DirectoryBlobs(tmp_path / "mount")
    processor = Processor(
        settings, blobs, None, bootstrap.store_queue(settings, redis), Captions(settings, BUNDLED)
    )  # type: ignore[arg-type]
    job = _Job(
        encode(
            ProcessImage(1, 1, "", utcnow(), jobs.recipe(settings, ""), "images/abc/original.jpg")
        )
    )
    with pytest.raises(Unavailable, match="is the volume mounted"):
        await processor.process(job)  # type: ignore[arg-type]
    await blobs.set_mark(written("00000000-0000-0000-0000-000000000000"))
    await processor.process(job)  # type: ignore[arg-type]
    assert await redis.xlen("store") == 0


class _Job:
    """A job in a worker's hands."""

    def __init__(self, body: bytes) -> None:
        self.id, self.body, self.deliveries = "1-0", body, 4


def _cache(redis: Redis):  # noqa: ANN202 - the cache
    from atelier.cache import Cache

    return Cache(redis)
