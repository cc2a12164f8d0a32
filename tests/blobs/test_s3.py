"""The S3 store where it differs from a folder: parts, credentials, and servers that are away."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from atelier.blobs import s3 as adapter
from atelier.blobs.s3 import Access, S3Blobs
from atelier.errors import Conflict, Unavailable
from tests.blobs.conftest import s3_store
from tests.s3 import S3Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

LARGE = 3 * adapter.PART_BYTES + 1
# Puts a large file, reads it again, and says by how much its memory has grown at most, in MiB.
FLAT = """
import asyncio, resource, sys
from pathlib import Path
from atelier.blobs.s3 import Access, S3Blobs

async def main():
    blobs = S3Blobs(sys.argv[2], access=Access(sys.argv[1], "eu-central-1", "access", "secret"))
    await blobs.put("warm", b"x")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await blobs.put("a", Path(sys.argv[3]))
    size = 0
    async for piece in blobs.stream("a"):
        size += len(piece)
    print(size, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)

asyncio.run(main())
"""


@pytest.fixture
def blobs(s3: S3Server) -> S3Blobs:
    """An empty store."""
    return s3_store(s3)


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def forgetful(address: str, request: bytes) -> AsyncIterator[str]:
    """A proxy that loses the answer to the first such request, with its connection."""
    host, _, port = address.removeprefix("http://").partition(":")
    lost: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, onwards = await asyncio.open_connection(host, int(port))
        latest = b""

        async def back() -> None:
            while data := await there.read(65_536):
                if request in latest and not lost:
                    lost.append(data)
                    break
                writer.write(data)
            writer.close()

        task = asyncio.create_task(back())
        while data := await reader.read(65_536):
            latest = data if b" HTTP/1.1" in data else latest
            onwards.write(data)
        onwards.close()
        await task

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    assert lost


async def hidden(blobs: S3Blobs) -> list[str]:
    """The names of unfinished uploads."""
    pages = await asyncio.to_thread(lambda: list(blobs._store.list(".incoming")))
    return [meta["path"] for page in pages for meta in page]


@pytest.mark.parametrize(
    ("size", "request_line"), [(100, b"PUT /"), (LARGE, b"files/a?uploadId=")]
)
async def test_an_answer_that_was_lost_is_no_conflict(
    s3: S3Server, tmp_path: Path, size: int, request_line: bytes
) -> None:
    """When the client retries after a lost answer and finds its own blob, that is no conflict."""
    content = os.urandom(size)
    (tmp_path / "upload").write_bytes(content)
    direct = s3_store(s3, "p")
    async with forgetful(s3.url, request_line) as url:
        blobs = S3Blobs(
            direct._bucket, "p", Access(url, "eu-central-1", "atelier-access", "atelier-secret")
        )
        await blobs.put("files/a", tmp_path / "upload")
    assert await direct.get("files/a") == content
    assert not (tmp_path / "upload").exists()
    with pytest.raises(Conflict):
        await direct.put("files/a", content[:-1] + b"?")
    with pytest.raises(Conflict):
        await direct.put("files/a", content + b"?")


async def test_a_large_file_goes_in_parts(blobs: S3Blobs, tmp_path: Path) -> None:
    """A file larger than a part arrives whole; nothing unfinished stays beside it."""
    source = tmp_path / "upload"
    content = os.urandom(LARGE)
    source.write_bytes(content)
    await blobs.put("files/a", source)
    assert await blobs.get("files/a") == content
    assert (
        b"".join([piece async for piece in blobs.stream("files/a", 5, LARGE - 5)]) == content[5:-5]
    )
    assert not source.exists()
    assert await hidden(blobs) == []


async def test_a_large_file_never_replaces_a_blob(blobs: S3Blobs, tmp_path: Path) -> None:
    """A taken key is a Conflict for uploads in parts, too, which leave blob and source alone."""
    source = tmp_path / "upload"
    source.write_bytes(b"x" * LARGE)
    await blobs.put("files/a", b"first")
    with pytest.raises(Conflict):
        await blobs.put("files/a", source)
    assert await blobs.get("files/a") == b"first"
    assert source.exists()
    assert await hidden(blobs) == []


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(s3: S3Server, tmp_path: Path) -> None:
    """A file of 64 MiB is put and read in a fraction of its size."""
    source = tmp_path / "upload"
    with source.open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    words = [sys.executable, "-c", FLAT, s3.url, s3.bucket("bucket-flat"), str(source)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    size, grown = map(int, done.stdout.split())
    assert size == 64 * 1024 * 1024
    assert grown < 56


async def test_many_are_deleted_in_pages(blobs: S3Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """More keys than one request takes are deleted by several."""
    monkeypatch.setattr(adapter, "PAGE", 2)
    for number in range(5):
        await blobs.put(f"a/{number}", b"")
    await blobs.delete(f"a/{number}" for number in range(5))
    assert [stat async for stat in blobs.list()] == []


async def test_sweeping(blobs: S3Blobs) -> None:
    """Parts left by killed uploads are removed once old enough; blobs are not touched."""
    await blobs.put("a", b"kept")
    await asyncio.to_thread(lambda: blobs._store.put(".incoming/left", b"x"))
    assert await blobs.sweep_temporary(timedelta(hours=1)) == 0
    assert await blobs.sweep_temporary(timedelta(seconds=-5)) == 1
    assert [stat.key async for stat in blobs.list()] == ["a"]
    assert await hidden(blobs) == []


async def fails(blobs: S3Blobs, words: str, source: Path) -> None:
    """Whatever is asked of the store is Unavailable with these words and a time to wait."""
    source.write_bytes(b"x" * LARGE)
    attempts: list[Callable[[], Awaitable[object]]] = [
        lambda: blobs.put("a", b"x"),
        lambda: blobs.put("a", source),
        lambda: blobs.get("a"),
        lambda: anext(blobs.stream("a")),
        lambda: blobs.delete(["a"]),
        lambda: anext(blobs.list()),
        lambda: blobs.sweep_temporary(timedelta(0)),
    ]
    for attempt in attempts:
        with pytest.raises(Unavailable, match=words) as caught:
            await attempt()
        assert caught.value.retry_after
    assert source.exists()


async def test_a_server_that_is_away(tmp_path: Path) -> None:
    """Refused connections are an outage that may pass."""
    blobs = S3Blobs(
        "bucket", access=Access("http://127.0.0.1:1", "eu-central-1", "access", "secret")
    )
    await fails(blobs, "the blob store does not answer", tmp_path / "source")


async def test_a_server_that_is_silent(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes connections and never answers is given up in the end."""
    monkeypatch.setattr(adapter, "REQUEST_SECONDS", 0.2)
    monkeypatch.setattr(adapter, "RETRIES", 0)
    blobs = S3Blobs("bucket", access=Access(silent, "eu-central-1", "access", "secret"))
    for attempt in (
        blobs.put("a", b"x"),
        blobs.get("a"),
        anext(blobs.stream("a")),
        anext(blobs.list()),
    ):
        with pytest.raises(Unavailable, match="the blob store does not answer"):
            await attempt


async def test_a_bucket_that_does_not_exist(s3: S3Server, tmp_path: Path) -> None:
    """A missing bucket is no missing blob: the store cannot be used, and the error says why."""
    blobs = S3Blobs("no-such-bucket", access=Access(s3.url, "eu-central-1", "access", "secret"))
    await fails(blobs, "the blob store's bucket does not exist", tmp_path / "source")


async def test_wrong_credentials(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A key that the server does not know is named as the cause; the secret is in no log."""
    with S3Server(with_auth=True) as server:
        bucket = server.bucket("bucket")
        blobs = S3Blobs(
            bucket, access=Access(server.url, "eu-central-1", "unknown-access", "unknown-secret")
        )
        await fails(
            blobs,
            r"the blob store refuses our credentials \(InvalidAccessKeyId\)",
            tmp_path / "source",
        )
    assert "InvalidAccessKeyId" in caplog.text
    assert "unknown-secret" not in caplog.text


async def test_no_credentials_at_all(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where neither settings, environment nor machine have keys the error says that."""
    monkeypatch.setattr(adapter, "RETRIES", 0)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")
    blobs = S3Blobs(s3.bucket("bucket-anonymous"), access=Access(s3.url, "eu-central-1"))
    await fails(blobs, "there are no credentials for the blob store", tmp_path / "source")


async def test_the_environment_names_what_the_settings_do_not(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`AWS_*` variables say who we are and where the server is."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "access")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    blobs = S3Blobs(s3.bucket("bucket-environment"))
    await blobs.put("a", b"x")
    assert await blobs.get("a") == b"x"


def test_a_process_may_end_right_after_a_call(s3: S3Server) -> None:
    """The client's own threads do not trouble an interpreter that exits."""
    code = (
        "import asyncio, sys; from atelier.blobs.s3 import Access, S3Blobs;"
        "blobs = S3Blobs(sys.argv[2], access=Access(sys.argv[1], 'eu-central-1', 'access', "
        "'secret'));"
        "asyncio.run(blobs.put('a', b'x'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, s3.url, s3.bucket("bucket-ending")], check=False
    )
    assert done.returncode == 0
