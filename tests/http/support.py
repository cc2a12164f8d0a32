"""Shared by HTTP tests: an application's resources, a client in process, one over a socket."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx2
import uvicorn
from redis.asyncio import Redis

from atelier.auth import Authenticator, Tokens
from atelier.blobs.directory import DirectoryBlobs
from atelier.cache import Cache
from atelier.database import Database
from atelier.http.admission import Uploads
from atelier.http.protocol import Protocol
from atelier.http.ratelimit import Limits
from atelier.http.resources import Resources
from atelier.queue import Lanes, Queue
from tests.lookups import Everybody
from tests.waiting import patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.types import ASGIApp

    from atelier.settings import Settings

REFUSED = "postgresql://nobody@127.0.0.1:1/none"  # port 1: connections are refused
BODY_LIMIT = 64 * 1024


def make_resources(
    settings: Settings, database: str = REFUSED, redis: str = "redis://127.0.0.1:1/0"
) -> Resources:
    """Resources whose engines are asked only by those tests that need them."""
    client = Redis.from_url(redis)
    tokens = Tokens("a secret of the tests, long enough to sign")
    return Resources(
        settings=settings,
        database=Database(database),
        redis=client,
        blobs=DirectoryBlobs(settings.blobs_folder),
        cache=Cache(client),
        tokens=tokens,
        authenticator=Authenticator(tokens, Everybody()),
        limits=Limits(client, failures_per_minute=5, attempts_per_minute=60),
        process_lanes=Lanes(
            Queue(client, "process", limit=10, attempts=2),
            Queue(client, "bulk", limit=10, attempts=2),
        ),
        uploads=Uploads(settings.upload_limit),
    )


def in_process(app: ASGIApp) -> httpx2.AsyncClient:
    """A client that calls the application without a socket."""
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://localhost")


@asynccontextmanager
async def served(app: ASGIApp, protocol: Callable[..., Protocol] = Protocol) -> AsyncIterator[int]:
    """The port on which uvicorn serves the application."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        http=protocol,  # type: ignore[arg-type] # it is called, no more
        ws="none",
        log_config=None,
        access_log=False,
        date_header=False,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    while not server.started:
        await asyncio.sleep(0.001)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await serving


async def converse(port: int, *pieces: bytes, end: bool = False) -> bytes:
    """Send the pieces over one connection and read until either side closes it (`end`: ours)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    if end:
        writer.write_eof()
    async with patience():
        answer = await reader.read()
    writer.close()
    return answer
