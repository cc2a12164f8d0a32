"""Bodies of answers from memory, from a file, or streamed from a store, in flat memory.

Where an nginx stands before us, it is told where the file lies and sends it. The event loop does
not wait for a disk: what the page cache holds is read at once, the rest in a thread.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from atelier.blobs import Blobs
from atelier.errors import NotFound

HEAD = (
    "atelier.head"  # set in the scope of a HEAD that its GET answers: headers count, bytes do not
)
CHUNK_BYTES = (
    256 * 1024
)  # of one read: large enough that the hop to a thread does not matter, small in memory
CACHED_ONLY = getattr(
    os, "RWF_NOWAIT", None
)  # Linux: read what the page cache holds, else fail at once


@dataclass(frozen=True, slots=True)
class RemoteBlob:
    """A blob that is not on this machine, and its size in bytes."""

    blobs: Blobs
    key: str
    size: int


@dataclass(frozen=True, slots=True)
class ProxiedFile:
    """A file of this machine that the proxy before us can send, and its address there."""

    path: Path
    location: str


def content_of(
    blobs: Blobs, key: str, size: int, accel_prefix: str | None = None
) -> Path | ProxiedFile | RemoteBlob:
    """A blob as `picture_response` takes it: its file where there is one."""
    path = blobs.path(key)
    if path is None:
        return RemoteBlob(blobs, key, size)
    return ProxiedFile(path, accel_prefix + key) if accel_prefix else path


class Streamed(Response):
    """The bytes from `start` up to but without `stop`, in pieces.

    Takes the descriptor over when `source` is one.
    """

    def __init__(
        self,
        source: int | RemoteBlob,
        start: int,
        stop: int,
        status: int,
        headers: list[tuple[bytes, bytes]],
    ) -> None:
        self.status_code = status
        self.raw_headers = [*headers, (b"content-length", str(stop - start).encode())]
        self.body = b""
        self.background = None
        self._source, self._start, self._stop = source, start, stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it all.

        Raises OSError when the content ends early: the client must not take it for whole.
        """
        try:
            left = 0 if scope.get(HEAD) else self._stop - self._start
            chunks = await self._begun() if left else None
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            if chunks is not None:
                async for chunk in chunks:
                    left -= len(chunk)
                    await send(
                        {"type": "http.response.body", "body": chunk, "more_body": left > 0}
                    )
                if left:
                    raise OSError("the content is shorter than it was")
            else:
                await send({"type": "http.response.body", "body": b""})
        finally:
            self.close()
        if self.background is not None:
            await self.background()

    def close(self) -> None:
        """Give the descriptor back; a response that is never sent must be closed."""
        if isinstance(self._source, int) and self._source >= 0:
            os.close(self._source)
            self._source = -1

    def __del__(self) -> None:
        self.close()

    async def _begun(self) -> AsyncIterator[bytes]:
        """The content; a remote blob has begun, so that its failure is answered as an error."""
        if isinstance(self._source, int):
            return read_file(self._source, self._start, self._stop)
        chunks = self._source.blobs.stream(self._source.key, self._start, self._stop)
        return _again(await anext(chunks, b""), chunks)


async def _again(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with aclosing(rest):
        if first:
            yield first
        async for chunk in rest:
            yield chunk


def open_file(path: Path) -> tuple[int, int]:
    """A descriptor and the size in bytes. Raises NotFound.

    Opening stays on the loop: it reads a folder's entry, which is in memory but for the first
    time.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound("The content is gone.") from error
    return descriptor, os.fstat(descriptor).st_size


async def read_file(descriptor: int, start: int, stop: int) -> AsyncIterator[bytes]:
    """The bytes of a file from `start` up to but without `stop`; ends early when the file does."""
    loop = asyncio.get_running_loop()
    while start < stop:
        length = min(CHUNK_BYTES, stop - start)
        chunk = read_cached(descriptor, length, start)
        if chunk is None:
            chunk = await loop.run_in_executor(None, os.pread, descriptor, length, start)
        if not chunk:
            return
        start += len(chunk)
        yield chunk


def read_cached(descriptor: int, length: int, offset: int) -> bytes | None:
    """Up to `length` bytes that need no disk; None where there are none or it is unknown."""
    if CACHED_ONLY is None:
        return None
    buffer = bytearray(length)
    try:
        count = os.preadv(descriptor, [buffer], offset, CACHED_ONLY)
    except OSError:  # not in memory (EAGAIN), or not offered by this file system (EOPNOTSUPP)
        return None
    return bytes(memoryview(buffer)[:count])
