"""With an unusable blob store: 503 with Retry-After, `/readyz` reports it, no internals shown."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from atelier import bootstrap
from atelier.settings import Settings
from tests.api.operations import PHOTO
from tests.api.people import is_problem
from tests.api.test_full import serving, small_disk
from tests.s3 import KEYS, S3Server
from tests.waiting import patience

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx2
    from redis.asyncio import Redis

LARGE = PHOTO + bytes(2 * 1024 * 1024)  # spooled on its way
UPLOADS = [
    ("/api/images", "file", {}),
    ("/api/tasks", "image", {"meta": "m"}),
    ("/api/upload/", "file", {}),
]


@pytest.fixture
def engines(fresh_database_url: str, redis_url: str, redis: Redis) -> dict[str, str]:
    """A database and a Redis with nothing in them."""
    return {"database_url": fresh_database_url, "redis_url": redis_url, "secret": "s" * 64}


@contextmanager
def no_folder(folder: Path) -> Iterator[Path]:
    """A file where the folder of blobs should be."""
    folder.write_bytes(b"")
    yield folder


@contextmanager
def dangling(folder: Path) -> Iterator[Path]:
    """A link to a folder that is not there."""
    folder.symlink_to("/nowhere/at/all")
    yield folder


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """A disk that takes no writes any more."""
    with small_disk(folder) as disk:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        yield disk


async def refuses(client: httpx2.AsyncClient, secret_words: tuple[str, ...]) -> None:
    """Every upload, small and large, is refused for now, without a word of where blobs are."""
    for path, part, form in UPLOADS:
        for content in (PHOTO, LARGE):
            answer = await client.post(path, files={part: ("a.jpg", content)}, data=form)
            assert is_problem(answer, 503), answer.text
            assert int(answer.headers["retry-after"]) > 0
            assert not any(word in answer.text for word in secret_words)
    ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()["checks"]["blobs"]) == (503, "unreachable")
    assert (await client.get("/api/images")).json() == []


@pytest.mark.parametrize("broken", [no_folder, dangling, read_only])
async def test_a_folder_that_cannot_be_used(
    tmp_path: Path, engines: dict[str, str], broken: Any
) -> None:
    """A file in its place, a dangling link and a read-only disk are outages, not server errors."""
    with broken(tmp_path / "pantry") as folder:
        async with serving(Settings(data=tmp_path / "data", blobs=folder, **engines)) as client:
            await refuses(client, ("pantry", "nowhere", str(tmp_path)))


async def test_a_bucket_that_cannot_be_used(
    tmp_path: Path, engines: dict[str, str], s3: S3Server
) -> None:
    """A bucket that does not exist is an outage; what was spooled for it is gone."""
    bucket = f"bucket-{secrets.token_hex(4)}"
    settings = Settings(
        data=tmp_path / "data", blobs=f"s3://{bucket}", s3_endpoint=s3.url, **KEYS, **engines
    )
    async with serving(settings) as client:
        await refuses(client, (bucket, "127.0.0.1", *KEYS.values()))
        assert list((tmp_path / "data" / "incoming").iterdir()) == []
        s3.bucket(bucket)
        async with patience():  # what was found is the answer for a second
            while (await client.get("/readyz")).json()["checks"]["blobs"] != "ok":
                await asyncio.sleep(0.1)
        assert (
            await client.post("/api/images", files={"file": ("a.jpg", LARGE)})
        ).status_code == 201


@pytest.mark.parametrize("where", ["folder", "bucket"])
async def test_a_missing_blob_is_not_named(
    tmp_path: Path, engines: dict[str, str], s3: S3Server, where: str
) -> None:
    """Content whose blob is gone is a 404 without the blob's key, whatever its size and range."""
    settings = Settings(data=tmp_path / "data", **engines)
    if where == "bucket":
        bucket = s3.bucket(f"bucket-{secrets.token_hex(4)}")
        settings = Settings(
            data=tmp_path, blobs=f"s3://{bucket}", s3_endpoint=s3.url, **KEYS, **engines
        )
    async with serving(settings) as client:
        contents = []
        for content in (PHOTO, LARGE):
            image = (await client.post("/api/images", files={"file": ("a.jpg", content)})).json()
            task = (
                await client.post(
                    "/api/tasks", files={"image": ("a.jpg", content)}, data={"meta": "m"}
                )
            ).json()
            file = (await client.post("/api/upload/", files={"file": ("a.jpg", content)})).json()
            contents += [f"{image['url']}/renditions/original", f"/api/tasks/{task['id']}/image"]
            contents += [f"/api/files/{file['id']}/content"]
        store = bootstrap.open_blobs(settings)
        keys = [stat.key async for stat in store.list()]
        await store.delete(keys)
        for url in contents:
            for headers in ({}, {"Range": "bytes=5-10"}):
                answer = await client.get(url, headers=headers)
                assert is_problem(answer, 404), (url, answer.text)
                assert not any(key in answer.text for key in keys)
