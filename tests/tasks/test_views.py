"""Views of tasks: what every browser shows, by the real image processor and archiver."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from atelier import bootstrap
from atelier.blobs import garbage
from atelier.blobs.directory import DirectoryBlobs
from atelier.commands.check import check
from atelier.commands.repair import Mended, repair
from atelier.database import Database
from atelier.errors import NotFound
from atelier.events.messages import NO_IMAGE, RejectImage, StoreImage, decode_process, utcnow
from atelier.imaging.recipe import Rendition
from atelier.roles import api, archiver, processor
from atelier.settings import Settings
from atelier.tasks import pictures, views
from tests.imaging.pictures import deep, exif, opened, saved, waterfall
from tests.tasks.conftest import Person, make_team
from tests.waiting import PATIENCE_SECONDS, eventually, patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx2
    from fastapi import FastAPI
    from redis.asyncio import Redis

    from atelier.http.resources import Resources

TIFF = saved(deep(), "TIFF")
MADE = {
    "16-bit TIFF": TIFF,
    "16-bit PNG": saved(deep()),
    "CMYK JPEG": saved(waterfall("CMYK"), "JPEG"),
    "BMP": saved(waterfall(), "BMP"),
    "oriented TIFF": saved(waterfall(), "TIFF", exif=exif({0x0112: 6, 0x010F: "Maker"})),
    "transparent TIFF": saved(waterfall("RGBA"), "TIFF"),
    "large TIFF": saved(Image.new("RGB", (4000, 1000), (200, 30, 30)), "TIFF"),
}
AS_STORED = {
    "JPEG": saved(waterfall(), "JPEG"),
    "progressive JPEG": saved(waterfall(), "JPEG", progressive=True),
    "grey JPEG": saved(waterfall("L"), "JPEG"),
    "oriented JPEG": saved(waterfall(), "JPEG", exif=exif({0x0112: 6})),
    "PNG": saved(waterfall("RGBA")),
    "GIF": saved(waterfall("P"), "GIF"),
    "WebP": saved(waterfall(), "WEBP"),
}
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"></svg>'


@pytest.fixture
def settings(tmp_path: Path, fresh_database_url: str, redis_url: str, redis: Redis) -> Settings:
    """An instance of the test's own, without a trash; the reconciler is run by hand."""
    return Settings(
        data=tmp_path,
        database_url=fresh_database_url,
        redis_url=redis_url,
        secret="s" * 32,
        processor_workers=1,
        decode_seconds=round(PATIENCE_SECONDS),
        reconcile_seconds=3600,
        trash_days=0,
    )


@pytest.fixture
async def application(settings: Settings) -> AsyncIterator[FastAPI]:
    """The application over it."""
    made = api.build(settings)
    async with made.router.lifespan_context(made):
        yield made


@pytest.fixture
async def database(fresh_database_url: str) -> AsyncIterator[Database]:
    """A pool of the test's own."""
    database = Database(fresh_database_url)
    yield database
    await database.close()


@pytest.fixture
def blobs(settings: Settings) -> DirectoryBlobs:
    """The store of the instance."""
    return DirectoryBlobs(settings.blobs_folder)


class Workers:
    """The image processor and the archiver in this process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = asyncio.Event()
        self._roles: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start both."""
        self._roles = [
            asyncio.create_task(role.run(self._settings, self._stop))
            for role in (processor, archiver)
        ]

    async def stop(self) -> None:
        """Let both finish."""
        self._stop.set()
        await asyncio.gather(*self._roles)


@pytest.fixture
async def idle(settings: Settings) -> AsyncIterator[Workers]:
    """Workers that the test starts when it likes."""
    made = Workers(settings)
    yield made
    await made.stop()


@pytest.fixture
async def workers(idle: Workers) -> Workers:
    """Workers at work."""
    idle.start()
    return idle


async def settled(person: Person, task: dict[str, Any]) -> httpx2.Response:
    """The view once it is final."""

    async def final() -> httpx2.Response | None:
        answer = await person.get(task["view"]["url"])
        waiting = answer.status_code == 404 and answer.json()["type"].endswith("not-ready")
        return None if waiting else answer

    return await eventually(final)


async def reoffer(settings: Settings, database: Database, redis: Redis) -> int:
    """One round of the reconciler, long after the views were offered."""
    await database.fetch("UPDATE task_views SET offered_at = offered_at - interval '2 hours'")
    queues = bootstrap.process_lanes(settings, redis), bootstrap.store_queue(settings, redis)
    return await views.reoffer(database, settings.reconcile_seconds, *queues)


async def collected(database: Database, blobs: DirectoryBlobs) -> int:
    """How many blobs are left once all garbage is due and collected; each has its row."""
    await database.fetch("UPDATE blob_garbage SET after = after - interval '1 day'")
    await garbage.collect(database, blobs)
    report = await check(database, blobs)
    assert (report.agrees, report.waiting) == (True, 0)
    return report.blobs


async def test_what_no_browser_shows_gets_a_jpeg(ada: Person, workers: Workers) -> None:
    """It is upright, of 8 bits, at most 2,048 pixels a side, and has no metadata."""
    tasks = {name: await ada.create(content) for name, content in MADE.items()}
    for name, task in tasks.items():
        answer = await settled(ada, task)
        assert answer.status_code == 200, (name, answer.text)
        image, given = opened(answer.content), opened(MADE[name])
        turned = given.getexif().get(0x0112, 1) == 6
        scale = min(1, 2048 / max(given.size))
        size = tuple(round(side * scale) for side in given.size)
        assert (image.format, image.size) == ("JPEG", size[::-1] if turned else size), name
        assert image.mode in {"L", "RGB"}, name
        assert not image.getexif(), name
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "private" in answer.headers["cache-control"]


async def test_what_every_browser_shows_comes_as_it_is(ada: Person, database: Database) -> None:
    """The answer is that of the picture at once, and nothing is made."""
    for name, content in AS_STORED.items():
        task = await ada.create(content)
        view, image = [await ada.get(task[each]["url"]) for each in ("view", "image")]
        assert (view.status_code, view.content) == (200, content), name
        assert view.headers["etag"] == image.headers["etag"]
        assert view.headers["content-type"] == image.headers["content-type"]
    assert await database.fetch("SELECT FROM task_views") == []


async def test_conditions_and_ranges_work(ada: Person, workers: Workers) -> None:
    """A view has an entity tag of its own; what the client has, or a part, is not sent whole."""
    task = await ada.create(TIFF)
    whole = await settled(ada, task)
    url = task["view"]["url"]
    image = await ada.get(task["image"]["url"])
    assert whole.headers["etag"] != image.headers["etag"]
    same = await ada.get(url, headers={"If-None-Match": whole.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    part = await ada.get(url, headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.content) == (206, whole.content[:10])


async def test_until_it_is_made_it_is_not_ready(ada: Person, redis: Redis) -> None:
    """404 with Retry-After; the job of a new task is sent once, however often it is asked for."""
    task = await ada.create(TIFF)
    for _ in range(3):
        answer = await ada.get(task["view"]["url"])
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-ready")
        assert answer.headers["retry-after"] == "1"
    [(_, fields)] = await redis.xrange("process")
    job = decode_process(next(iter(fields.values())))
    assert (job.task_id, job.image_id, job.picture) == (task["id"], NO_IMAGE, None)


async def test_a_task_from_before_gets_its_view_when_it_is_asked_for(
    ada: Person, database: Database, workers: Workers
) -> None:
    """The first request marks the view as wanted and sends the job."""
    task = await ada.create(TIFF)
    await settled(ada, task)
    await database.fetch("DELETE FROM task_views")
    assert (await ada.get(task["view"]["url"])).status_code == 404
    assert (await settled(ada, task)).status_code == 200


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(TIFF[: len(TIFF) // 2], "", id="cut off"),
        pytest.param(SVG, "SVG", id="SVG"),
        pytest.param(b"8BPS\0\1" + bytes(40), "PSD", id="PSD"),
    ],
)
async def test_what_cannot_be_made_says_so(
    ada: Person, workers: Workers, content: bytes, words: str
) -> None:
    """404 with the reason, again and again; the picture itself is still there."""
    task = await ada.create(content)
    for _ in range(2):
        answer = await settled(ada, task)
        body = answer.json()
        assert (answer.status_code, body["type"]) == (404, "/problems/processing-failed")
        assert body["detail"]
        assert words in body["detail"]
    assert (await ada.get(task["image"]["url"])).content == content


async def test_strangers_learn_nothing_and_viewers_see(
    ada: Person, bob: Person, resources: Resources, workers: Workers
) -> None:
    """A stranger's request is a 404 like any other and makes nothing; a viewer gets the view."""
    team = await make_team(resources, (ada, "owner"))
    task = await ada.create(TIFF, params={"space": team.id})
    unseen = await bob.get(task["view"]["url"])
    unknown = await bob.get("/api/tasks/999999/view")
    assert unseen.status_code == unknown.status_code == 404
    assert unseen.json()["detail"] == unknown.json()["detail"]
    await team.add(bob, "viewer")
    assert (await settled(bob, task)).status_code == 200


async def test_a_wiped_queue_loses_no_view(
    ada: Person, settings: Settings, database: Database, redis: Redis, idle: Workers
) -> None:
    """The reconciler sends the job again, once, and nothing for what is made or failed."""
    task, broken = await ada.create(TIFF), await ada.create(TIFF[:2000])
    await redis.flushdb()
    assert await reoffer(settings, database, redis) == 2
    queues = bootstrap.process_lanes(settings, redis), bootstrap.store_queue(settings, redis)
    assert await views.reoffer(database, settings.reconcile_seconds, *queues) == 0
    idle.start()
    assert (await settled(ada, task)).status_code == 200
    assert (await settled(ada, broken)).status_code == 404
    assert await reoffer(settings, database, redis) == 0


async def test_a_view_outlives_the_processor(
    ada: Person, settings: Settings, redis: Redis, idle: Workers
) -> None:
    """Of a processor that is killed at work the next one takes the job over."""
    tasks = [await ada.create(saved(deep((3000, 2000)), "TIFF")) for _ in range(3)]
    queue = bootstrap.process_lanes(settings, redis).first
    environment = os.environ | {"ATELIER_REDIS_URL": settings.redis_url.get_secret_value()}
    command = [sys.executable, "-m", "atelier", "processor", "--data", str(settings.data)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as running:
        async with patience():
            while not await queue.pending():
                await asyncio.sleep(0.01)
        running.kill()
    assert await queue.depth()
    idle.start()
    for task in tasks:
        assert (await settled(ada, task)).status_code == 200


async def test_a_view_goes_with_its_task(
    ada: Person, database: Database, blobs: DirectoryBlobs, workers: Workers
) -> None:
    """Deleting the task removes both files; that of an account all of its views."""
    tasks = [await ada.create(TIFF) for _ in range(2)]
    for task in tasks:
        await settled(ada, task)
    report = await check(database, blobs, deep=True)
    assert (report.agrees, report.references) == (True, 4)
    assert (await ada.delete(f"/api/tasks/{tasks[0]['id']}")).status_code == 204
    assert (await ada.get(tasks[0]["view"]["url"])).status_code == 404
    assert await collected(database, blobs) == 2
    assert (await ada.delete(f"/api/users/{ada.id}")).status_code == 204
    assert await collected(database, blobs) == 0


async def test_a_view_that_comes_too_late_leaks_nothing(
    ada: Person, database: Database, blobs: DirectoryBlobs, idle: Workers
) -> None:
    """When the task is deleted before the processor or the archiver comes to it, nothing stays."""
    gone = await ada.create(TIFF)
    assert (await ada.delete(f"/api/tasks/{gone['id']}")).status_code == 204
    await views.store(database, blobs, [made(gone["id"])])
    idle.start()
    kept = await ada.create(TIFF)
    await settled(ada, kept)
    assert await collected(database, blobs) == 2


async def test_moving_keeps_the_view(ada: Person, resources: Resources, workers: Workers) -> None:
    """In the other space it is the same."""
    task = await ada.create(TIFF)
    before = await settled(ada, task)
    team = await make_team(resources, (ada, "owner"))
    moving = {"ids": [task["id"]], "space_id": team.id}
    assert (await ada.post("/api/tasks/move", json=moving)).json() == {"moved": 1}
    after = await ada.get(task["view"]["url"])
    assert (after.status_code, after.headers["etag"]) == (200, before.headers["etag"])


def made(task_id: int, data: bytes = b"jpeg") -> StoreImage:
    """A view as the image processor sends it."""
    picture = Rendition(views.NAME, 1, 1, "JPEG", data)
    return StoreImage(NO_IMAGE, 1, "", utcnow(), (picture,), task_id=task_id)


def refused(task_id: int) -> RejectImage:
    """A failure as the image processor sends it."""
    return RejectImage(NO_IMAGE, 1, "bad-picture", "why", task_id=task_id)


async def test_outcomes_that_come_twice_count_once(
    ada: Person, database: Database, blobs: DirectoryBlobs
) -> None:
    """The first view stays, whatever comes later, in one batch or in turn; nothing leaks."""
    task = await ada.create(TIFF)
    await views.store(database, blobs, [made(task["id"], b"one"), made(task["id"], b"two")])
    await views.store(database, blobs, [refused(task["id"]), made(task["id"], b"three")])
    assert (await ada.get(task["view"]["url"])).content == b"one"
    assert await collected(database, blobs) == 2


async def test_a_view_replaces_a_failure(
    ada: Person, database: Database, blobs: DirectoryBlobs
) -> None:
    """A processor that was thought dead may yet succeed after the job was given up."""
    task = await ada.create(TIFF)
    await views.store(database, blobs, [refused(task["id"])])
    assert (await ada.get(task["view"]["url"])).json()["detail"] == "why"
    await views.store(database, blobs, [made(task["id"], b"one")])
    assert (await ada.get(task["view"]["url"])).content == b"one"


async def test_a_lost_view_is_made_anew(
    ada: Person,
    settings: Settings,
    database: Database,
    blobs: DirectoryBlobs,
    workers: Workers,
) -> None:
    """`atelier check --repair` forgets a view whose blob is missing; the next request makes it."""
    task = await ada.create(TIFF)
    await settled(ada, task)
    [row] = await database.fetch("SELECT blob FROM task_views")
    await blobs.delete([row["blob"]])
    report = await check(database, blobs)
    assert report.missing == [row["blob"]]
    mended = await repair(settings, database, missing=report.missing, orphaned=[])
    assert mended == Mended(images=0, files=0, orphans=0, views=1)
    assert (await settled(ada, task)).status_code == 200
    assert await collected(database, blobs) == 2


async def test_a_task_that_goes_meanwhile_is_not_wanted(resources: Resources) -> None:
    """Between the reading of the task and the mark it may be deleted: 404, as afterwards."""
    with pytest.raises(NotFound):
        await pictures._want(resources, {"id": 999_999, "blob": "tasks/x"})


async def test_a_task_of_a_stored_picture_has_a_view_of_its_own(
    ada: Person,
    settings: Settings,
    database: Database,
    blobs: DirectoryBlobs,
    redis: Redis,
    idle: Workers,
) -> None:
    """It is made of the picture's bytes when it is asked for, and goes with the task alone."""
    sent = await ada.post("/api/images", files={"file": ("a.tif", TIFF)})
    assert sent.status_code == 201, sent.text
    task = (await ada.post("/api/tasks", json={"image_id": sent.json()["id"], "meta": ""})).json()
    assert (await ada.get(task["view"]["url"])).json()["type"] == "/problems/not-ready"
    await redis.flushdb()
    assert await reoffer(settings, database, redis) == 1
    idle.start()
    answer = await settled(ada, task)
    assert (answer.status_code, opened(answer.content).format) == (200, "JPEG")
    assert (await ada.delete(f"/api/tasks/{task['id']}")).status_code == 204
    assert await collected(database, blobs) == 1
