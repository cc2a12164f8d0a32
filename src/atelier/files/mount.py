"""Django inside an ASGI server: the event loop reads each request, and a thread answers it.

The thread runs Django's WSGI side: Django's own ASGI handler costs several times as much and runs
synchronous views one at a time. A form is complete, in memory or in the file that will be stored,
before it takes a thread, so slow clients hold none.
"""

from __future__ import annotations

import asyncio
import contextvars
import io
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from atelier.auth import Principal, Right
from atelier.errors import AtelierError, TooLarge
from atelier.files import django_setup
from atelier.files.authentication import PRINCIPAL, right_to, space_of
from atelier.files.bodies import JSON
from atelier.files.uploads import FORM, FileForm, new_spool
from atelier.http.admission import Uploads
from atelier.http.sendfile import read_file
from atelier.http.upload import read_form
from atelier.wire.multipart import is_multipart
from atelier.wire.spaces import PARAMETER
from atelier.wire.strict_json import LIMIT_BYTES, is_json, too_large

THREADS = 8  # requests that Django answers at once, each with a database connection of its own
CHUNK_BYTES = 256 * 1024
BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
LEAVE_SECONDS = 5  # for all threads to disconnect


@dataclass(slots=True)
class Answer:
    """The response of a WSGI application: bytes, or a file still to be read."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    file: Any = None


class FileWrapper:
    """`wsgi.file_wrapper`: passes the file on instead of reading it."""

    def __init__(self, file: Any, block_size: int = CHUNK_BYTES) -> None:
        self.file, self.block_size = file, block_size

    def __iter__(self) -> Any:
        return iter(lambda: self.file.read(self.block_size), b"")


class Mount:
    """A WSGI application as an ASGI one.

    With `authenticate` every request must bring a valid credential before its body is read, and
    an upload the right to its space.
    The embedding application answers the errors of `authenticate`, `uploads` and `receive`.
    """

    def __init__(
        self,
        application: Callable[..., Any],
        *,
        uploads: Uploads,
        authenticate: Callable[[Scope, Right], Awaitable[Principal]] | None = None,
        threads: int = THREADS,
    ) -> None:
        self._application = application
        self._uploads = uploads
        self._authenticate = authenticate
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="django")
        self._seen: set[int] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI request by Django in a thread."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        environment = environ(scope)
        method, content_type = scope["method"], environment.get("CONTENT_TYPE", "")
        principal = None
        if self._authenticate is not None:
            principal = await self._authenticate(scope, right_to(method))
            environment[PRINCIPAL] = principal
        if is_multipart(content_type):
            if principal is not None and method == "POST":
                named = dict(parse_qsl(environment["QUERY_STRING"], keep_blank_values=True))
                space_of(principal, method, named.get(PARAMETER))
            answer = await self._upload(environment, receive)
        else:  # nothing in the slice reads any other body but JSON
            if method == "POST" and is_json(content_type):
                environment[JSON] = await _json(environment, receive)
            answer = await self._answer(environment)
        await deliver(answer, send, head=scope["method"] == "HEAD")

    def close(self) -> None:
        """End the threads, each with its database connection; they answer no more requests."""
        together = threading.Barrier(max(1, len(self._seen)))
        for _ in self._seen:
            self._threads.submit(_leave, together)
        self._threads.shutdown()

    async def _upload(self, environment: dict[str, Any], receive: Receive) -> Answer:
        with self._uploads.admitted():
            async with _form(environment, receive), self._uploads.working:
                return await self._answer(environment)

    async def _answer(self, environment: dict[str, Any]) -> Answer:
        run = contextvars.copy_context().run  # keeps the request id of log lines
        answering = asyncio.get_running_loop().run_in_executor(
            self._threads, run, self._call, environment
        )
        try:
            return await asyncio.shield(answering)
        except asyncio.CancelledError:
            await asyncio.wait([answering])  # the thread reads the spool that is about to go
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
        told = any(name == b"content-length" for name, _ in encoded)
        # A length would speak of a body that a 204 or 304 does not have.
        if not told and answer.status not in BODILESS:
            encoded.append((b"content-length", str(len(answer.body)).encode()))
        return answer

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        self.close()
        await send({"type": "lifespan.shutdown.complete"})


def _leave(together: threading.Barrier) -> None:
    """Disconnect this thread; waiting for the others makes each thread do so exactly once."""
    django_setup.disconnect()
    with suppress(threading.BrokenBarrierError):
        together.wait(LEAVE_SECONDS)


@asynccontextmanager
async def _form(environment: dict[str, Any], receive: Receive) -> AsyncIterator[None]:
    """Read a form into the environment, for the view that asks for it; nothing of it stays.

    An error is kept there, too: whether a form is wanted at all is for Django to say.
    """
    spool = new_spool()
    try:
        try:
            form = FileForm(environment["CONTENT_TYPE"], spool)
            environment[FORM] = await read_form(form, _chunks(receive))
        except AtelierError as error:
            environment[FORM] = error
        yield
    finally:
        spool.discard()


async def _json(environment: dict[str, Any], receive: Receive) -> bytes | TooLarge:
    """A body of JSON, or the error that it is too large; that is for the view to raise."""
    declared = environment.get("CONTENT_LENGTH", "0")
    if declared.isdigit() and int(declared) > LIMIT_BYTES:
        return too_large()
    body = bytearray()
    async for chunk in _chunks(receive):
        body += chunk
        if len(body) > LIMIT_BYTES:
            return too_large()
    return bytes(body)


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    """A body as it comes. Raises ClientDisconnect, and what `receive` raises."""
    more = True
    while more:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        yield message.get("body", b"")
        more = message.get("more_body", False)


def environ(scope: Scope) -> dict[str, Any]:
    """The WSGI environment of an ASGI request; of its body the length alone."""
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
        "wsgi.input": io.BytesIO(),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
    }
    for name, value in scope["headers"]:
        if b"_" in name:
            continue  # `a_b` and `a-b` would be one variable
        key = name.decode("latin-1").upper().replace("-", "_")
        key = key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"
        text = value.decode("latin-1")
        made[key] = f"{made[key]},{text}" if key in made else text
    return made


async def deliver(answer: Answer, send: Send, *, head: bool) -> None:
    """Send a response; without its body for HEAD."""
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
    """The content of a file part, read in threads if it is not in memory."""
    left = part.stop - part.start
    try:
        descriptor = part.file.fileno()
    except OSError:
        while chunk := await asyncio.to_thread(part.read, CHUNK_BYTES):  # a store elsewhere
            left -= len(chunk)
            yield chunk
    else:
        async for chunk in read_file(descriptor, part.start, part.stop):
            left -= len(chunk)
            yield chunk
    if left:
        raise OSError("the content is shorter than it was")
