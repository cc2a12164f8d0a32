"""Limits of a connection, over sockets: large heads, slow clients, many, what is not HTTP."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from atelier.http.protocol import HEAD_BYTES, Protocol
from atelier.wire.quota import Quota
from tests.http.support import converse, served
from tests.waiting import eventually, patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = 16 * 1024 * 1024
gone = asyncio.Event()


class Impatient(Protocol):
    """Waits a moment, where the real one waits for 20 s."""

    patience_seconds = 0.5
    rate_bytes = 10_000


class Slow(Protocol):
    """Waits for longer than a busy machine takes for a few bytes, and content with those."""

    patience_seconds = 3.0
    rate_bytes = 1


async def echo(request: Request) -> PlainTextResponse:
    """How many bytes came; with `?slow`, after longer than a client may be silent."""
    try:
        size = len(await request.body())
    except ClientDisconnect:
        gone.set()
        raise
    if "slow" in request.query_params:
        await asyncio.sleep(3 * Impatient.patience_seconds)
    return PlainTextResponse(str(size))


async def large(request: Request) -> StreamingResponse:
    """More than the buffers of a kernel take; with `?pause`, one more piece, which is late."""
    pause = "pause" in request.query_params

    async def pieces() -> AsyncIterator[bytes]:
        yield b"x" * LARGE
        if pause:
            await asyncio.sleep(3 * Impatient.patience_seconds)
            yield b"y"

    return StreamingResponse(pieces(), background=BackgroundTask(gone.set))


async def late(request: Request) -> PlainTextResponse:
    """The same, read after longer than a client may be silent."""
    await asyncio.sleep(3 * Impatient.patience_seconds)
    return await echo(request)


APP = Starlette(
    routes=[
        Route("/", echo, methods=["GET", "POST"]),
        Route("/large", large, methods=["GET"]),
        Route("/late", late, methods=["POST"]),
    ]
)


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


async def test_a_large_head_in_one_write_is_answered(port: int) -> None:
    """431 reaches a client that is still sending: what it sends is read on and thrown away."""
    head = b"GET / HTTP/1.1\r\nHost: x\r\nX-Large: " + b"a" * 1024 * 1024 + b"\r\n\r\n"
    answer = await converse(port, head)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_a_client_that_never_ends_after_a_refusal_is_left(port: int) -> None:
    """Reading on is bounded: then the connection is reset."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nX-Endless: ")
    with suppress(ConnectionError):
        while True:
            writer.write(b"a" * 65_536)
            await writer.drain()
    assert bytes(reader._buffer).startswith(b"HTTP/1.1 431 ")  # type: ignore[attr-defined]
    writer.close()


async def test_requests_before_a_refused_one_are_answered(impatient: int) -> None:
    """A head that is too large costs the request after which it comes nothing."""
    answer = await converse(
        impatient,
        b"GET /?slow HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nX-Large: ",
        b"a" * 1024 * 1024,
    )
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    ("quota", "refusal"), [(Quota(1, 99), b"429 "), (Quota(9, 1), b"503 ")], ids=["client", "all"]
)
async def test_a_connection_too_many_is_refused(quota: Quota, refusal: bytes) -> None:
    """It is told when to come again, unread; there is room as soon as another has ended."""
    async with served(APP, partial(Protocol, quota=quota)) as port:
        _, first = await asyncio.open_connection("127.0.0.1", port)
        await eventually(lambda: quota.open)
        answer = await converse(port)
        assert answer.startswith(b"HTTP/1.1 " + refusal)
        assert b"retry-after: " in answer.lower()
        first.close()
        await eventually(lambda: not quota.open)
        assert (await converse(port, GET, end=True)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("begun", [b"", b"\r\n", b"GET", b"GET / HTTP/1.1\r\nHost:"])
async def test_a_silent_client_is_left(impatient: int, begun: bytes) -> None:
    """A client that falls silent before or within a head is disconnected without an answer."""
    assert await converse(impatient, begun) == b""


async def test_a_stray_line_end_keeps_no_connection(impatient: int) -> None:
    """After an answer it is the beginning of the next request, which must come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", impatient)
    writer.write(GET)
    assert (await reader.readuntil(b"\r\n\r\n0")).startswith(b"HTTP/1.1 200")
    writer.write(b"\r\n")
    async with patience():
        assert await reader.read() == b""
    writer.close()


async def test_a_client_that_is_silent_within_a_body_is_told_so(impatient: int) -> None:
    """408 as a problem: what it owes is known."""
    answer = await converse(impatient, HEAD + b"Content-Length: 10\r\n\r\nabc")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"/problems/request-timeout" in answer
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    ("framing", "piece"),
    [(b"Content-Length: 1000000", b"a"), (b"Transfer-Encoding: chunked", b"1\r\na\r\n")],
)
async def test_a_body_that_trickles_is_cut(impatient: int, framing: bytes, piece: bytes) -> None:
    """A few bytes now and then do not hold a connection: 408."""
    reader, writer = await asyncio.open_connection("127.0.0.1", impatient)
    writer.write(HEAD + framing + b"\r\n\r\n")
    answered = asyncio.ensure_future(reader.read())
    while not answered.done():
        writer.write(piece)
        await asyncio.wait([answered], timeout=Impatient.patience_seconds / 8)
    assert answered.result().startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_a_client_that_waits_for_100_continue_owes_nothing(impatient: int) -> None:
    """The time until the application reads the body is ours."""
    head = b"POST /late HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", impatient)
    writer.write(head + b"Content-Length: 3\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"abc")
    assert (await reader.read()).endswith(b"\r\n\r\n3")
    writer.close()


async def read_slowly(port: int, request: bytes, piece: int) -> bytes:
    """Take an answer in pieces, several times longer than a silent client may take."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, request)
        answer = bytearray()
        while data := await loop.sock_recv(client, piece):
            answer += data
            if len(answer) % (16 * piece) < piece:
                await asyncio.sleep(Impatient.patience_seconds / 8)
        return bytes(answer)


async def test_a_reader_that_takes_nothing_is_cut(impatient: int) -> None:
    """A client that asks for more than buffers hold and reads nothing is disconnected."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", impatient))
        await loop.sock_sendall(client, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        async with patience():
            await gone.wait()


async def test_a_closed_connection_does_not_wait_for_a_reader_for_ever() -> None:
    """What is left of an answer is not held for a client that takes nothing of it."""
    quota = Quota(9, 99)
    async with served(APP, partial(Impatient, quota=quota)) as port:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, ("127.0.0.1", port))
            request = b"GET /large HTTP/1.0\r\nHost: x\r\n\r\n"
            await loop.sock_sendall(client, request)
            await eventually(lambda: quota.open == 1)
            await eventually(lambda: quota.open == 0)


async def test_a_slow_reader_that_goes_on_has_it_all(impatient: int) -> None:
    """Above the rate an answer may take as long as it takes."""
    request = b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = await read_slowly(impatient, request, 64 * 1024)
    assert answer.count(b"x" * 1024) == LARGE // 1024


async def test_a_pause_of_ours_is_not_the_readers(impatient: int) -> None:
    """A stream that has nothing to send for long is not cut."""
    request = b"GET /large?pause HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert b"y" in (await converse(impatient, request))[-16:]


async def test_more_of_a_head_buys_no_time(impatient: int) -> None:
    """A client that sends a header line now and then is left as well."""
    reader, writer = await asyncio.open_connection("127.0.0.1", impatient)
    writer.write(b"GET / HTTP/1.1\r\n")
    closed = asyncio.ensure_future(reader.read())
    while not closed.done():
        writer.write(b"X: y\r\n")
        await asyncio.wait([closed], timeout=Impatient.patience_seconds / 4)
    assert closed.exception() or closed.result() == b""
    writer.close()


async def test_a_body_that_goes_on_may_take_its_time() -> None:
    """Above the rate it may be as slow as it is."""
    async with served(APP, Slow) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Connection: close\r\nContent-Length: 10\r\n\r\n")
        for _ in range(10):
            await asyncio.sleep(Slow.patience_seconds / 8)
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
