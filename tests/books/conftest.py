"""The catalogue over HTTP: the API in this process, on real engines, and a signed-in reader."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx2
import pytest

from atelier.roles import api, relay
from atelier.settings import Settings
from tests.books.support import SECRET, sign_in
from tests.ports import free_port
from tests.rpc.support import Books, channel_to, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from fastapi import FastAPI
    from redis.asyncio import Redis


@pytest.fixture
def settings(tmp_path: Path, database_url: str, redis_url: str, redis: Redis) -> Settings:
    """Settings of a new instance: a data folder, this worker's database, an empty Redis."""
    return Settings(
        data=tmp_path,
        database_url=database_url,
        redis_url=redis_url,
        secret=SECRET,
        grpc_port=free_port(),
    )


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    """The application, started and stopped."""
    application = api.build(settings)
    async with application.router.lifespan_context(application):
        yield application


@pytest.fixture
async def stranger(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """A client without a token."""
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://localhost"
    ) as client:
        yield client


@pytest.fixture
async def ada(app: FastAPI, database_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A signed-in user."""
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://localhost"
    ) as client:
        client.headers["Authorization"] = await sign_in(database_url)
        yield client


@pytest.fixture
async def bob(app: FastAPI, database_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    """Another one."""
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://localhost"
    ) as client:
        client.headers["Authorization"] = await sign_in(database_url)
        yield client


@pytest.fixture
async def books(settings: Settings, database_url: str) -> AsyncIterator[Books]:
    """The gRPC service, called by a signed-in user."""
    async with serving(settings) as port, channel_to(port) as channel:
        yield Books(channel, await sign_in(database_url))


@pytest.fixture
async def relaying(settings: Settings) -> AsyncIterator[None]:
    """The relay at work."""
    stop = asyncio.Event()
    task = asyncio.create_task(relay.run(settings, stop))
    yield
    stop.set()
    await task
