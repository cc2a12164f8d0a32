"""Django inside an ASGI server: bodies, answers, clients that disconnect, and memory."""

from __future__ import annotations

import asyncio
import io
import threading
from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import ClientDisconnect

from atelier.errors import Malformed
from atelier.files import django_setup
from atelier.files.content import Part
from atelier.files.mount import Mount, environ
from atelier.files.uploads import FORM
from atelier.http.admission import Uploads
from atelier.wire.spool import MEMORY_BYTES
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from pathlib import Path

    from atelier.settings import Settings

FORM_TYPE = [(b"content-type", b"multipart/form-data; boundary=b")]
HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
TAIL = b"\r\n--b--\r\n"
SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "GET",
    "path": "/api/files/",
    "query_string": b"a=%20b",
    "headers": [],
    "http_version": "1.1",
    "scheme": "http",
    "server": ("127.0.0.1", 8000),
    "client": ("10.0.0.1", 1),
}


def say(
    body: bytes = b"", status: str = "200 OK", headers: Iterable[tuple[str, str]] = ()
) -> Callable[..., Any]:
    """A WSGI application that says this."""

    def application(_: dict[str, Any], start_response: Callable[..., Any]) -> io.BytesIO:
        start_response(status, list(headers))
        return io.BytesIO(body)

    return application


def receiving(*pieces: bytes) -> Callable[[], Any]:
    """An ASGI `receive` of these pieces."""
    left = list(pieces)

    async def receive() -> dict[str, Any]:
        body = left.pop(0) if left else b""
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    return receive


async def answer(mount: Mount, receive: Any = None, **scope: Any) -> tuple[dict[str, Any], bytes]:
    """The start message and the body."""
    said: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    await mount({**SCOPE, **scope}, receive or receiving(b""), send)
    assert not said[-1].get("more_body")
    return said[0], b"".join(message.get("body", b"") for message in said[1:])


@pytest.fixture
async def mounted() -> AsyncIterator[Callable[..., Mount]]:
    """Mounts that are closed in the end."""
    made: list[Mount] = []

    def mount(*arguments: Any, **options: Any) -> Mount:
        made.append(Mount(*arguments, uploads=Uploads(10), **options))
        return made[-1]

    yield mount
    for each in made:
        await asyncio.to_thread(each.close)


async def test_an_answer_has_its_length(mounted: Callable[..., Mount]) -> None:
    """Status, headers and body pass; a length that was not told is added."""
    start, body = await answer(mounted(say(b"hello", "201 Created", [("X-A", "b")])))
    assert (start["status"], body) == (201, b"hello")
    assert start["headers"] == [(b"x-a", b"b"), (b"content-length", b"5")]


async def test_head_has_no_body(mounted: Callable[..., Mount]) -> None:
    """But the same headers."""
    start, body = await answer(mounted(say(b"hello")), method="HEAD")
    assert (start["headers"], body) == ([(b"content-length", b"5")], b"")


@pytest.mark.parametrize("size", [1, MEMORY_BYTES, MEMORY_BYTES + 1, 3 * MEMORY_BYTES + 5])
async def test_forms_arrive_whole_and_once(
    mounted: Callable[..., Mount], settings: Settings, size: int
) -> None:
    """Django gets the file ready: in memory, or at its one path on disk; then it is gone."""
    django_setup.configure(settings)
    seen: list[Any] = []

    def application(environment: dict[str, Any], start_response: Callable[..., Any]) -> io.BytesIO:
        content = environment[FORM].file.content
        stored = list(settings.incoming_folder.glob("*"))
        seen.extend((content if isinstance(content, bytes) else content.read_bytes(), stored))
        assert stored == ([] if isinstance(content, bytes) else [content])
        start_response("200 OK", [])
        return io.BytesIO()

    body = HEAD + b"x" * size + TAIL
    pieces = [body[at : at + 200_000] for at in range(0, len(body), 200_000)]
    await answer(mounted(application), receiving(*pieces), method="POST", headers=FORM_TYPE)
    assert seen[0] == b"x" * size
    assert list(settings.incoming_folder.glob("*")) == []


async def test_a_broken_form_is_for_django_to_refuse(mounted: Callable[..., Mount]) -> None:
    """Only it knows whether a form is wanted there at all."""
    seen: list[Any] = []

    def application(environment: dict[str, Any], start_response: Callable[..., Any]) -> io.BytesIO:
        seen.append(environment[FORM])
        start_response("200 OK", [])
        return io.BytesIO()

    await answer(mounted(application), receiving(b"broken"), method="POST", headers=FORM_TYPE)
    assert isinstance(seen[0], Malformed)


async def test_a_file_is_handed_over_not_read(
    mounted: Callable[..., Mount], tmp_path: Path
) -> None:
    """By `wsgi.file_wrapper`: the part that was asked for, and the file is closed in the end."""
    path = tmp_path / "content"
    path.write_bytes(bytes(range(256)) * 5000)
    parts: list[Part] = []

    def application(environment: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        parts.append(Part(path.open("rb"), 10, 1_000_000))
        start_response("206 Partial Content", [("Content-Length", "999990")])
        return environment["wsgi.file_wrapper"](parts[0])

    start, body = await answer(mounted(application))
    assert (start["status"], body) == (206, path.read_bytes()[10:1_000_000])
    assert parts[0].file.closed


async def test_content_that_ends_early_is_an_error(mounted: Callable[..., Mount]) -> None:
    """The client must not take a part for the whole.

    Also when there is no descriptor to read by.
    """

    def application(environment: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [("Content-Length", "10")])
        return environment["wsgi.file_wrapper"](Part(io.BytesIO(b"short"), 0, 10))

    with pytest.raises(OSError, match="shorter"):
        await answer(mounted(application))


async def test_a_client_that_goes_away_takes_no_thread(mounted: Callable[..., Mount]) -> None:
    """A body that never comes to its end never meets Django."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    with pytest.raises(ClientDisconnect):
        await answer(mounted(say(b"never")), receive, method="POST", headers=FORM_TYPE)


async def test_a_cancelled_request_waits_for_its_thread(
    mounted: Callable[..., Mount], settings: Settings
) -> None:
    """The spooled file stays as long as the thread may read it."""
    django_setup.configure(settings)
    entered, leave, read = threading.Event(), threading.Event(), []

    def application(environment: dict[str, Any], start_response: Callable[..., Any]) -> io.BytesIO:
        entered.set()
        leave.wait(PATIENCE_SECONDS)
        read.append(len(environment[FORM].file.content.read_bytes()))
        start_response("200 OK", [])
        return io.BytesIO()

    body = receiving(HEAD + b"x" * 2 * MEMORY_BYTES + TAIL)
    mount = mounted(application)
    task = asyncio.create_task(answer(mount, body, method="POST", headers=FORM_TYPE))
    await asyncio.to_thread(entered.wait, PATIENCE_SECONDS)
    task.cancel()
    await asyncio.sleep(0.01)
    assert not task.done()
    leave.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert read == [2 * MEMORY_BYTES]
    assert list(settings.incoming_folder.glob("*")) == []


async def test_lifespan(mounted: Callable[..., Mount]) -> None:
    """Alone under an ASGI server it starts and stops."""
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    said: list[str] = []

    async def receive() -> dict[str, Any]:
        return next(messages)

    async def send(message: dict[str, Any]) -> None:
        said.append(message["type"])

    await mounted(say())({"type": "lifespan"}, receive, send)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_environment() -> None:
    """As WSGI requires: repeated headers joined, lookalikes left out, UTF-8 paths as latin-1."""
    headers = [
        (b"x-a", b"1"), (b"x-a", b"2"), (b"x_a", b"3"), (b"content-type", b"text/plain"),
        (b"content-length", b"5"),
        (b"atelier.principal", b"me"),
    ]  # fmt: skip
    made = environ({**SCOPE, "path": "/é", "headers": headers})
    assert made["HTTP_X_A"] == "1,2"
    assert made["CONTENT_TYPE"] == "text/plain"
    assert made["PATH_INFO"].encode("latin-1").decode() == "/é"
    assert made["CONTENT_LENGTH"] == "5"
    assert "atelier.principal" not in made
    assert (made["QUERY_STRING"], made["SERVER_PORT"], made["REMOTE_ADDR"]) == (
        "a=%20b",
        "8000",
        "10.0.0.1",
    )
