"""A download that is made while it is sent: whole, or seen not to be."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from starlette.requests import ClientDisconnect

from atelier.errors import NotFound, Unavailable
from atelier.http.download import Download
from atelier.http.sendfile import HEAD
from tests.http.support import served

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import Message, Receive, Scope, Send

PIECES = [b"a" * 100_000, b"b" * 100_000]


class Pieces:
    """Pieces, then an error if there is one; knows how far it came."""

    def __init__(self, *errors: Exception, repeat: int = 1) -> None:
        self.given = 0
        self.closed = False
        self._errors, self._repeat = errors, repeat

    async def __call__(self) -> AsyncGenerator[bytes, None]:
        """The pieces, with turns for others in between."""
        try:
            for piece in PIECES * self._repeat:
                self.given += 1
                yield piece
                await asyncio.sleep(0)
            for error in self._errors:
                raise error
        finally:
            self.closed = True


async def stays() -> Message:
    """A client that stays."""
    await asyncio.Event().wait()
    raise AssertionError


async def sent(download: Download, scope: Scope, receive: Receive = stays) -> list[Any]:
    """The messages of an answer."""
    messages: list[Any] = []

    async def send(message: Message) -> None:
        messages.append(message)

    await download(scope, receive, send)
    return messages


async def test_it_is_an_attachment_that_no_cache_keeps() -> None:
    """All pieces come, under a name in any alphabet, and then the end."""
    start, *bodies = await sent(Download(Pieces()(), "text/csv", "свет.csv"), {})
    headers = dict(start["headers"])
    assert headers[b"content-disposition"].endswith(
        b"filename*=UTF-8''%D1%81%D0%B2%D0%B5%D1%82.csv"
    )
    assert headers[b"content-disposition"].startswith(b"attachment;")
    assert headers[b"cache-control"] == b"no-store"
    assert [body["body"] for body in bodies] == [*PIECES, b""]
    assert [body.get("more_body", False) for body in bodies] == [True, True, False]


async def test_a_head_asks_for_no_piece() -> None:
    """The headers alone."""
    pieces = Pieces()
    start, end = await sent(Download(pieces(), "text/csv", "a.csv"), {HEAD: True})
    assert start["status"] == 200
    assert end == {"type": "http.response.body", "body": b""}
    assert pieces.given == 0


async def test_what_fails_before_the_first_piece_is_an_error() -> None:
    """Nothing was sent, so that it can be answered as one."""

    async def none() -> AsyncGenerator[bytes, None]:
        raise Unavailable("gone")
        yield b""

    with pytest.raises(Unavailable):
        await sent(Download(none(), "text/csv", "a.csv"), {})


async def test_a_client_that_went_away_ends_it() -> None:
    """No more pieces are made for nobody, and what they are made of is closed."""

    async def leaves() -> Message:
        return {"type": "http.disconnect"}

    pieces = Pieces(repeat=1000)
    with pytest.raises(ClientDisconnect):
        await sent(Download(pieces(), "text/csv", "a.csv"), {}, leaves)
    assert pieces.given < 10
    assert pieces.closed


@pytest.mark.parametrize("error", [NotFound("no member any more"), OSError("a disk")])
async def test_a_client_sees_that_the_end_is_missing(error: Exception) -> None:
    """Over a socket the connection ends without the end of the answer."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await Download(Pieces(error)(), "text/csv", "a.csv")(scope, receive, send)

    got = io.BytesIO()

    async def download(port: int, client: httpx2.AsyncClient) -> None:
        async with client.stream("GET", f"http://127.0.0.1:{port}/") as answer:
            async for piece in answer.aiter_raw():
                got.write(piece)

    async with served(app) as port, httpx2.AsyncClient() as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            await download(port, client)
    assert got.getvalue() == b"".join(PIECES)
