"""A full queue or disk is a 503 with nothing half-written, until there is room again."""

from __future__ import annotations

import asyncio
import subprocess
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import httpx2
import pytest

from atelier import bootstrap
from atelier.commands import check
from atelier.files import django_setup
from atelier.roles import api
from atelier.settings import Settings
from tests.api.operations import PHOTO
from tests.api.people import is_problem, sign_up
from tests.http.support import served
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from redis.asyncio import Redis

SMALL_DISK = "1m"
KIB = 1024


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of an API of its own."""
    async with (
        served(api.build(settings)) as port,
        httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS
        ) as client,
    ):
        client.headers |= (await sign_up(client)).headers
        yield client
    django_setup.disconnect()


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk with room for a few photographs; skips where none may be mounted."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK},mode=0755", "tmpfs", folder],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("a small disk can only be mounted by root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def engines(fresh_database_url: str, redis_url: str, redis: Redis) -> dict[str, str]:
    """A database and a Redis with nothing in them."""
    return {"database_url": fresh_database_url, "redis_url": redis_url, "secret": "s" * 64}


async def test_a_full_queue_takes_no_pictures(
    tmp_path: Path, engines: dict[str, str], redis: Redis
) -> None:
    """Without a processor, uploads beyond the limit are 503 and all else works.

    Then there is room.
    """
    settings = Settings(data=tmp_path, queue_limit=3, **engines)
    async with serving(settings) as client:
        photo = {"file": ("a.jpg", PHOTO)}
        taken = [await client.post("/api/images", files=photo) for _ in range(3)]
        assert {answer.status_code for answer in taken} == {201}
        refused = await client.post("/api/images", files=photo)
        assert is_problem(refused, 503)
        assert refused.json()["type"] == "/problems/queue-full"
        assert int(refused.headers["retry-after"]) > 0
        assert len((await client.get("/api/images")).json()) == 3
        first = taken[0].json()["url"]
        assert (
            await client.patch(first, json={"description": "a new caption, to be made later"})
        ).status_code == 200
        task = await client.post(
            "/api/tasks", files={"image": ("a.jpg", PHOTO)}, data={"meta": "m"}
        )
        assert task.status_code == 201
        await redis.delete(bootstrap.PROCESS)
        assert (await client.post("/api/images", files=photo)).status_code == 201


@pytest.mark.parametrize(
    ("path", "part", "form"),
    [
        ("/api/images", "file", {}),
        ("/api/tasks", "image", {"meta": "m"}),
        ("/api/upload/", "file", {}),
    ],
)
async def test_a_full_disk_keeps_what_it_has(
    tmp_path: Path, engines: dict[str, str], path: str, part: str, form: dict[str, str]
) -> None:
    """Acknowledged uploads are whole, others leave nothing, and with room again uploads go on.

    Without a trash what is deleted makes room.
    """
    with small_disk(tmp_path / "disk") as disk:
        settings = Settings(data=tmp_path / "data", blobs=disk, trash_days=0, **engines)
        async with serving(settings) as client:
            made = []
            for _ in range(30):
                answer = await client.post(path, files={part: ("a.jpg", PHOTO)}, data=form)
                if answer.status_code != 201:
                    break
                made.append(answer.json()["id"])
            assert made
            assert is_problem(answer, 503)
            assert int(answer.headers["retry-after"]) > 0
            collection = path.replace("upload", "files").rstrip("/")
            assert [record["id"] for record in (await client.get(collection)).json()] == made[::-1]
            assert sizes(disk) == [len(PHOTO)] * len(made)
            assert (await client.delete(f"{collection}/{made[0]}")).status_code == 204
            assert (
                await client.post(path, files={part: ("a.jpg", PHOTO)}, data=form)
            ).status_code == 201
            assert sizes(disk) == [len(PHOTO)] * len(made)
        assert await asyncio.to_thread(check.main, settings, deep=True) == 0


@pytest.mark.parametrize("path", ["/api/images", "/api/upload/"])
async def test_a_disk_that_fills_during_an_upload_keeps_none_of_it(
    tmp_path: Path, engines: dict[str, str], path: str
) -> None:
    """A file larger than what is left is refused while it comes, and its first part is gone."""
    with small_disk(tmp_path / "disk") as disk:
        settings = Settings(data=tmp_path / "data", blobs=disk, **engines)
        async with serving(settings) as client:
            answer = await client.post(path, files={"file": ("a.bin", bytes(4096 * KIB))})
            assert is_problem(answer, 503)
            assert sizes(disk) == []
            assert (await client.post(path, files={"file": ("a.jpg", PHOTO)})).status_code == 201


def sizes(folder: Path) -> list[int]:
    """The sizes in bytes of all files in a folder."""
    return [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
