"""The client's address when a proxy stands before the API: over a socket, as it is served."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import httpx2
import pytest
import uvicorn

from atelier.roles import api
from atelier.settings import Settings
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
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
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(api.serving(who, Settings(trusted_proxies=trusted)))
        serving = asyncio.create_task(server.serve([listener]))
        while not server.started:
            await asyncio.sleep(0.001)
        async with httpx2.AsyncClient(timeout=PATIENCE_SECONDS) as client:
            headers = {"x-forwarded-for": claimed, "x-forwarded-proto": "https"}
            answer = await client.get(
                f"http://127.0.0.1:{listener.getsockname()[1]}/", headers=headers
            )
        server.should_exit = True
        await serving
    assert answer.text == believed
