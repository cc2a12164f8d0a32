"""The client's address when a proxy stands before the API: over a socket, as it is served."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx2
import pytest
import uvicorn

from atelier.roles import api
from atelier.settings import Settings
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send


async def who(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the client and the scheme."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    said = f"{scope['scheme']} {scope['client'][0]}".encode()
    headers = [(b"content-length", str(len(said)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": said})


@pytest.mark.parametrize(
    ("trusted", "claimed", "believed"),
    [
        ((), "203.0.113.9", "http 127.0.0.1"),
        (("10.0.0.0/8",), "203.0.113.9", "http 127.0.0.1"),
        (("127.0.0.1",), "203.0.113.9", "https 203.0.113.9"),
        (("127.0.0.0/8",), "198.51.100.1, 203.0.113.9", "https 203.0.113.9"),
        (("127.0.0.0/8", "203.0.113.0/24"), "198.51.100.1, 203.0.113.9", "https 198.51.100.1"),
    ],
)
async def test_only_a_trusted_proxy_says_who_the_client_is(
    trusted: tuple[str, ...], claimed: str, believed: str
) -> None:
    """By default no proxy is trusted.

    Of a chain of trusted proxies the last address that is not one of them does.
    """
    assert await answer_to(Settings(port=0, trusted_proxies=trusted), claimed) == believed


@pytest.mark.parametrize(
    ("trusted", "believed"), [("127.0.0.1", "https 203.0.113.9"), ("10.0.0.1", "http 127.0.0.1")]
)
async def test_on_every_address_ipv4_is_ipv4(trusted: str, believed: str) -> None:
    """Listening on `::`, a client or proxy that came by IPv4 has its own address."""
    settings = Settings(host="::", port=0, trusted_proxies=(trusted,))
    assert await answer_to(settings, "203.0.113.9") == believed


async def test_on_every_address_ipv4_clients_have_their_own_connections() -> None:
    """Listening on `::`, one client that has all that one may hold leaves the others theirs."""
    settings = Settings(host="::", port=0, client_connections=2)
    async with running(settings) as port:
        holding = [open_from("127.0.0.2", port) for _ in range(3)]
        assert await refused(holding[2])
        for number in (3, 4):
            holding.append(open_from(f"127.0.0.{number}", port))
            assert not await refused(holding[-1])
        for client in holding:
            client.close()


def open_from(address: str, port: int) -> socket.socket:
    """A connection from one of this machine's addresses."""
    client = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS, (address, 0))
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    return client


async def refused(client: socket.socket) -> bool:
    """Whether it is answered 429."""
    return await asyncio.to_thread(client.recv, 12) == b"HTTP/1.1 429"


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[int]:
    """Serve with these settings; the port."""
    with api.listen(settings) as listener:
        server = uvicorn.Server(api.serving(who, settings))
        serving = asyncio.create_task(server.serve([listener]))
        while not server.started:
            await asyncio.sleep(0.001)
        yield int(listener.getsockname()[1])
        server.should_exit = True
        await serving


async def answer_to(settings: Settings, claimed: str) -> str:
    """Who a client is, that came by IPv4 and is said to have this address."""
    headers = {"x-forwarded-for": claimed, "x-forwarded-proto": "https"}
    async with running(settings) as port, httpx2.AsyncClient(timeout=PATIENCE_SECONDS) as client:
        return (await client.get(f"http://127.0.0.1:{port}/", headers=headers)).text
