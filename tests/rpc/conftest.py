"""A gRPC server of this project in the test's process, on real engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from atelier.settings import Settings
from tests.books.support import SECRET, sign_in
from tests.ports import free_port
from tests.rpc.support import Books, channel_to, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import grpc
    from redis.asyncio import Redis


@pytest.fixture
def database_url(fresh_database_url: str) -> str:
    """A database of the test's own: other tests prune the log, which these read from its start."""
    return fresh_database_url


@pytest.fixture
def settings(tmp_path: Path, database_url: str, redis_url: str, redis: Redis) -> Settings:
    """Settings of a service of its own."""
    return Settings(
        data=tmp_path,
        database_url=database_url,
        redis_url=redis_url,
        secret=SECRET,
        grpc_port=free_port(),
    )


@pytest.fixture
async def channel(settings: Settings) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the running role."""
    async with serving(settings) as port, channel_to(port) as made:
        yield made


@pytest.fixture
async def books(channel: grpc.aio.Channel, database_url: str) -> Books:
    """BookService as a signed-in user calls it."""
    return Books(channel, await sign_in(database_url))
