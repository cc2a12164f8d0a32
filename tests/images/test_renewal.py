"""`atelier renditions`: stored pictures get what new settings ask for, once, and in turn."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from atelier import bootstrap, disk
from atelier.cache import Cache
from atelier.cli import app as command_line
from atelier.commands.renditions import LOCK, POSITION, Renewing, Tally, main
from atelier.database import Database
from atelier.errors import Conflict
from atelier.images import renewal
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from atelier.settings import Settings
    from tests.images.conftest import Person

SIZES = ("100x100", "360x360", "500x500")


@pytest.fixture
async def database(fresh_database_url: str) -> AsyncIterator[Database]:
    """A database of the test's own."""
    database = Database(fresh_database_url)
    yield database
    await database.close()


@pytest.fixture
def settings(settings: Settings, fresh_database_url: str) -> Settings:
    """The instance on a database of its own, so that a run sees this test's rows alone."""
    return settings.model_copy(
        update={"database_url": type(settings.redis_url)(fresh_database_url)}
    )  # type: ignore[misc,call-arg]


@pytest.fixture
def changed(settings: Settings) -> Settings:
    """The same with a size more."""
    return settings.model_copy(update={"sizes": SIZES})


async def renew(
    settings: Settings, database: Database, redis: Redis, *, everything: bool = False
) -> Tally:
    """One run."""
    tally, cache = Tally(), Cache(redis)
    lanes = bootstrap.process_lanes(settings, redis)
    try:
        await Renewing(settings, database, cache, lanes, tally).run(everything=everything)
    finally:
        await cache.close()
    return tally


async def names(ada: Person, image_id: int) -> set[str]:
    """The renditions of a picture that is ready."""
    return {each["name"] for each in (await ada.settled(image_id))["renditions"]}


async def test_a_new_size_is_made_of_what_lacks_it(
    ada: Person, changed: Settings, database: Database, redis: Redis, workers: None
) -> None:
    """With an event and a new version; old renditions are served meanwhile, and twice is once."""
    old = [await ada.settled((await ada.upload(description="x"))["id"]) for _ in range(2)]
    waiting = await renew(changed, database, redis)
    assert (waiting.found, waiting.looked, waiting.queued) == (2, 2, 2)
    for record in old:
        url = record["renditions"][0]["url"]
        assert (await ada.client.get(url)).status_code == 200
        assert await names(ada, record["id"]) == {*SIZES, "gray", "captioned"}
        assert (await ada.client.get(f"{record['url']}/renditions/360x360")).status_code == 200
        told = await database.fetch(
            "SELECT type FROM outbox WHERE subject = $1 ORDER BY sequence",
            f"images/{record['id']}",
        )
        assert [each["type"] for each in told] == [
            *("image.created", "image.processed"),
            *("image.updated", "image.processed"),
        ]
    assert (await renew(changed, database, redis)).queued == 0


async def test_what_is_not_ready_is_left_alone(
    ada: Person, changed: Settings, database: Database, redis: Redis
) -> None:
    """It is made by the settings of today anyway, or has failed for a reason of its own."""
    queued, failed = [(await ada.upload())["id"] for _ in range(2)]
    await database.fetch("UPDATE images SET status = 'failed' WHERE id = $1", failed)
    for everything in (False, True):
        tally = await renew(changed, database, redis, everything=everything)
        assert (tally.looked, tally.queued) == (2, 0)
    assert (await ada.client.get(f"/api/images/{queued}/info")).headers["etag"] == '"1"'


async def make_ready(ada: Person, database: Database, count: int) -> list[int]:
    """Pictures that are ready without having been processed."""
    ids = [(await ada.upload())["id"] for _ in range(count)]
    await database.fetch("UPDATE images SET status = 'ready' WHERE id = any($1)", ids)
    return ids


async def test_a_run_for_all_goes_on_where_it_was_ended(
    ada: Person,
    settings: Settings,
    database: Database,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each picture once, newest first; with other settings, and after the end, from the start."""
    ids = await make_ready(ada, database, 3)
    monkeypatch.setattr(renewal, "PAGE_ROWS", 2)
    really, done = renewal.renew, []

    async def once(database: Database, cache: Cache, image_id: int, wanted: list[str]) -> Any:
        if len(done) == 1 and image_id == ids[1]:
            done.append(0)
            raise KeyboardInterrupt
        done.append(image_id)
        return await really(database, cache, image_id, wanted)

    monkeypatch.setattr(renewal, "renew", once)
    with pytest.raises(KeyboardInterrupt):
        await renew(settings, database, redis, everything=True)
    assert (settings.data / POSITION).exists()
    rest = await renew(settings, database, redis, everything=True)
    assert (rest.found, rest.queued) == (2, 2)
    assert done == [ids[2], 0, ids[1], ids[0]]
    assert not (settings.data / POSITION).exists()
    assert (await renew(settings, database, redis, everything=True)).found == 3
    kept = {"asked": "other settings", "before": ids[0]}
    for content in (orjson.dumps(kept), b"[]", b"half"):
        (settings.data / POSITION).write_bytes(content)
        assert (await renew(settings, database, redis, everything=True)).found == 3


async def test_the_queue_is_never_filled(
    ada: Person, settings: Settings, database: Database, redis: Redis
) -> None:
    """A run waits for room, so that uploads are not refused for it."""
    await make_ready(ada, database, 3)
    await redis.flushdb()
    few = settings.model_copy(update={"queue_limit": 2})
    lanes, tally, cache = bootstrap.process_lanes(few, redis), Tally(), Cache(redis)
    renewing = Renewing(few, database, cache, lanes, tally, per_second=1000)
    run = asyncio.ensure_future(renewing.run(everything=True))
    for queued in (1, 2):
        await eventually(lambda: tally.waiting)
        assert (tally.queued, await lanes.depth()) == (queued, 1)
        tally.waiting = False
        await redis.flushdb()
    await run
    await cache.close()
    assert (tally.queued, tally.looked) == (3, 3)


async def test_the_command_says_what_it_did(
    ada: Person,
    settings: Settings,
    database: Database,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As a line or as JSON; one run at a time."""
    await make_ready(ada, database, 1)
    assert await asyncio.to_thread(main, settings, everything=True, as_json=True) == 0
    numbers = {"found": 1, "looked": 1, "queued": 1, "interrupted": False}
    assert orjson.loads(capsys.readouterr().out) == numbers
    assert await asyncio.to_thread(main, settings, everything=False) == 0
    assert capsys.readouterr().out.startswith("1 of 1 pictures seen, 0 queued; they are made")
    descriptor = disk.lock(settings.data / LOCK)
    try:
        with pytest.raises(Conflict):
            await asyncio.to_thread(main, settings, everything=True)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("options", [[], ["--missing", "--all"], ["--all", "--per-second", "0"]])
def test_errors_of_use(options: list[str]) -> None:
    """One of the two is to be chosen, and a pace is above 0."""
    with pytest.raises(SystemExit) as ended:
        command_line(["renditions", *options])
    assert ended.value.code == 2
