"""Limits of a connection, over sockets: large heads, silent clients, and what is not HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from atelier.http.protocol import HEAD_BYTES, Protocol
from tests.http.support import converse, served
from tests.waiting import patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
gone = asyncio.Event()


class Impatient(Protocol):
    """Waits a moment, where the real one waits a minute."""

    wait_seconds = 0.5


class Slow(Protocol):
    """Waits for longer than a busy machine takes for a few bytes."""

    wait_seconds = 3.0


async def echo(request: Request) -> PlainTextResponse:
    """How many bytes came; with `?slow`, after longer than a client may be silent."""
    try:
        size = len(await request.body())
    except ClientDisconnect:
        gone.set()
        raise
    if "slow" in request.query_params:
        await asyncio.sleep(3 * Impatient.wait_seconds)
    return PlainTextResponse(str(size))


APP = Starlette(routes=[Route("/", echo, methods=["GET", "POST"])])


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Where it listens with the patience that it really has."""
    async with served(APP) as port:
        yield port


@pytest.fixture
async def impatient() -> AsyncIterator[int]:
    """Where it listens and soon leaves who is silent."""
    gone.clear()
    async with served(APP, Impatient) as port:
        yield port


async def test_a_large_head_is_taken_up_to_the_limit(port: int) -> None:
    """Nearly the limit of headers, in pieces, is an ordinary request."""
    pieces = [b"X-%d: %b\r\n" % (number, b"a" * 1000) for number in range(HEAD_BYTES // 1100)]
    answer = await converse(
        port, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", *pieces, b"\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "opening", [b"GET / HTTP/1.1\r\nX-Endless: ", b"GET /"], ids=["header", "address"]
)
async def test_an_endless_head_is_refused(port: int, opening: bytes) -> None:
    """431 as a problem, long before memory fills.

    What the client goes on sending is not read.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(opening)
    answer = b""
    sent = 0
    try:
        while not answer and sent < 64 * HEAD_BYTES:
            writer.write(b"a" * 16_384)
            await writer.drain()
            sent += 16_384
            if reader._buffer:  # type: ignore[attr-defined]
                answer = await reader.read()
    except ConnectionError:
        answer = answer or bytes(reader._buffer)  # type: ignore[attr-defined]
    writer.close()
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"content-type: application/problem+json" in answer
    assert b"/problems/headers-too-large" in answer


@pytest.mark.parametrize(
    "begun", [b"", b"GET", b"GET / HTTP/1.1\r\nHost:", HEAD + b"Content-Length: 10\r\n\r\nabc"]
)
async def test_a_silent_client_is_left(impatient: int, begun: bytes) -> None:
    """A client that falls silent before or within a request is disconnected without an answer."""
    assert await converse(impatient, begun) == b""


async def test_more_of_a_head_buys_no_time(impatient: int) -> None:
    """A client that sends a header line now and then is left as well."""
    reader, writer = await asyncio.open_connection("127.0.0.1", impatient)
    writer.write(b"GET / HTTP/1.1\r\n")
    closed = asyncio.ensure_future(reader.read())
    while not closed.done():
        writer.write(b"X: y\r\n")
        await asyncio.wait([closed], timeout=Impatient.wait_seconds / 4)
    assert closed.exception() or closed.result() == b""
    writer.close()


async def test_a_body_that_goes_on_may_take_its_time() -> None:
    """Only silence counts, not slowness."""
    async with served(APP, Slow) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Connection: close\r\nContent-Length: 10\r\n\r\n")
        for _ in range(10):
            await asyncio.sleep(Slow.wait_seconds / 8)
            writer.write(b"a")
        assert (await reader.read()).endswith(b"\r\n\r\n10")
        writer.close()


async def test_the_application_hears_that_a_silent_client_was_left(impatient: int) -> None:
    """It meets a client that went away, as it would of its own."""
    await converse(impatient, HEAD + b"Content-Length: 10\r\n\r\nabc")
    async with patience():
        await gone.wait()


async def test_a_slow_answer_is_waited_for(impatient: int) -> None:
    """While we are at work the client owes nothing.

    The next request on the connection is taken.
    """
    request = b"POST /?slow HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na"
    last = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = await converse(impatient, request, last)
    assert answer.count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize(
    "rubbish",
    [b"\x16\x03\x01\x02\x00\x01\x00", b"BREW /pot HTTP/1.1\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"],
)
async def test_what_is_no_http_is_told_so(port: int, rubbish: bytes) -> None:
    """400 as a problem, and the connection is closed."""
    answer = await converse(port, rubbish)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer
    assert b"/problems/malformed" in answer


@pytest.mark.parametrize(
    ("request_", "encoded"),
    [
        ("GET /?author=толстой HTTP/1.1\r\nHost: x\r\n\r\n", True),
        ("GET /é HTTP/1.1\r\nHost: x\r\n\r\n", True),
        ("GET /?author=%D1%82 HTTP/9\r\nHost: x\r\n\r\n", False),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nétwas", False),
        ("\x16\x03\x01é", False),
    ],
)
async def test_letters_of_an_address_that_are_not_encoded_are_named(
    port: int, request_: str, *, encoded: bool
) -> None:
    """A path or query outside ASCII is answered with this advice, other faults are not."""
    answer = await converse(port, request_.encode())
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert (b"outside ASCII in an address are percent-encoded" in answer) is encoded
