"""Django inside an ASGI server: each request is read by the event loop and answered by Django's WSGI side in a thread.

Django's own ASGI handler costs several times as much and runs synchronous views one at a time. A
body is complete, in memory or in an unnamed file, before it takes a thread: slow clients hold
none.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from atelier.auth import Principal
from atelier.errors import Unavailable
from atelier.files import django_setup
from atelier.files.authentication import PRINCIPAL
from atelier.http.sendfile import read_file

THREADS = (
    8  # requests that Django answers at once, each with a connection of its own to the database
)
MEMORY_BYTES = 1024 * 1024  # of one body; more goes to a file
BATCH_BYTES = 1024 * 1024  # written at once, by a thread
CHUNK_BYTES = 256 * 1024
RETRY_SECONDS = 30  # somebody has to make room, or to mend the folder
LEAVE_SECONDS = 5  # for all threads to disconnect


@dataclass(slots=True)
class Answer:
    """What a WSGI application said: bytes, or a file that is still to be read."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    file: Any = None


class FileWrapper:
    """`wsgi.file_wrapper`: hands the file over instead of reading it."""

    def __init__(self, file: Any, block_size: int = CHUNK_BYTES) -> None:
        self.file, self.block_size = file, block_size

    def __iter__(self) -> Any:
        return iter(lambda: self.file.read(self.block_size), b"")


class Mount:
    """A WSGI application as an ASGI one.

    With `authenticate` every request must bring a valid `Authorization` before its body is read;
    errors of it, and of `receive`, are the embedding application's to answer.
    """

    def __init__(
        self,
        application: Callable[..., Any],
        *,
        authenticate: Callable[[str | None], Awaitable[Principal]] | None = None,
        spool: Path | None = None,
        threads: int = THREADS,
    ) -> None:
        self._application = application
        self._authenticate = authenticate
        self._spool = spool
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="django")
        self._seen: set[int] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI request by Django in a thread."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        environment = environ(scope)
        if self._authenticate is not None:
            environment[PRINCIPAL] = await self._authenticate(
                environment.get("HTTP_AUTHORIZATION")
            )
        body = Body(self._spool)
        try:
            await body.read(receive)
            environment |= {"wsgi.input": body.file, "CONTENT_LENGTH": str(body.size)}
            answer = await self._answer(environment)
        finally:
            body.file.close()
        await deliver(answer, send, head=scope["method"] == "HEAD")

    def close(self) -> None:
        """End the threads, each with its connection to the database.

        None answers a request any more.
        """
        together = threading.Barrier(max(1, len(self._seen)))
        for _ in self._seen:
            self._threads.submit(_leave, together)
        self._threads.shutdown()

    async def _answer(self, environment: dict[str, Any]) -> Answer:
        run = contextvars.copy_context().run  # the request id of log lines
        answering = asyncio.get_running_loop().run_in_executor(
            self._threads, run, self._call, environment
        )
        try:
            return await asyncio.shield(answering)
        except asyncio.CancelledError:
            await asyncio.wait([answering])  # the thread reads the body that is about to be closed
            raise

    def _call(self, environment: dict[str, Any]) -> Answer:
        self._seen.add(threading.get_ident())
        said: list[Any] = []
        result = self._application(
            environment, lambda status, headers, _=None: said.extend((status, headers))
        )
        status, headers = said
        encoded = [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers
        ]
        answer = Answer(int(status[:3]), encoded)
        if isinstance(result, FileWrapper):
            answer.file = result.file
            return answer
        try:
            answer.body = b"".join(result)
        finally:
            result.close()
        if not any(name == b"content-length" for name, _ in encoded):
            encoded.append((b"content-length", str(len(answer.body)).encode()))
        return answer

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        self.close()
        await send({"type": "lifespan.shutdown.complete"})


def _leave(together: threading.Barrier) -> None:
    """Disconnect this thread; the wait for the others sees to it that each does so once."""
    django_setup.disconnect()
    with suppress(threading.BrokenBarrierError):
        together.wait(LEAVE_SECONDS)


class Body:
    """A request's body, in memory while it is small, else in a file."""

    def __init__(self, folder: Path | None) -> None:
        self.size = 0
        self.file = tempfile.SpooledTemporaryFile(
            MEMORY_BYTES, dir=str(folder) if folder else None
        )
        self._folder = folder

    async def read(self, receive: Receive) -> None:
        """Read it all. Raises ClientDisconnect, and what `receive` raises."""
        parts: list[bytes] = []
        waiting, more = 0, True
        while more:
            message: Message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            parts.append(message.get("body", b""))
            waiting += len(parts[-1])
            more = message.get("more_body", False)
            if waiting > BATCH_BYTES:
                await asyncio.to_thread(self._write, parts)
                parts, waiting = [], 0
        if self.size:
            await asyncio.to_thread(self._write, parts)
        else:
            self._write(parts)  # it stays in memory
        self.file.seek(0)

    def _write(self, parts: list[bytes]) -> None:
        before, self.size = self.size, self.size + sum(map(len, parts))
        try:
            if self._folder is not None and before <= MEMORY_BYTES < self.size:
                self._folder.mkdir(0o750, parents=True, exist_ok=True)
            for part in parts:
                self.file.write(part)
        except OSError as error:
            raise Unavailable(
                "The file cannot be stored right now.", retry_after=RETRY_SECONDS
            ) from error


def environ(scope: Scope) -> dict[str, Any]:
    """The WSGI environment of an ASGI request, without its body."""
    host, port = scope.get("server") or ("localhost", 80)
    made: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port or 80),
        "SERVER_PROTOCOL": f"HTTP/{scope.get('http_version', '1.1')}",
        "REMOTE_ADDR": (scope.get("client") or ("",))[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
    }
    for name, value in scope["headers"]:
        if b"_" in name or name == b"content-length":
            # `a_b` and `a-b` would be one variable; the length is known once the body is here
            continue
        key = name.decode("latin-1").upper().replace("-", "_")
        key = key if key == "CONTENT_TYPE" else f"HTTP_{key}"
        text = value.decode("latin-1")
        made[key] = f"{made[key]},{text}" if key in made else text
    return made


async def deliver(answer: Answer, send: Send, *, head: bool) -> None:
    """Send an answer; nothing of a body to HEAD."""
    body = b"" if head else answer.body
    try:
        await send(
            {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
        )
        if answer.file is not None and not head:
            async for chunk in _pieces(answer.file):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": body})
    finally:
        if answer.file is not None:
            answer.file.close()


async def _pieces(part: Any) -> Any:
    """A part of a file, read in threads where it is not in memory."""
    left = part.stop - part.start
    try:
        descriptor = part.file.fileno()
    except OSError:
        while chunk := await asyncio.to_thread(part.read, CHUNK_BYTES):  # it comes from elsewhere
            left -= len(chunk)
            yield chunk
    else:
        async for chunk in read_file(descriptor, part.start, part.stop):
            left -= len(chunk)
            yield chunk
    if left:
        raise OSError("the content is shorter than it was")
