"""Connections to the database: what becomes of them when the server goes away and comes back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg
from sqlalchemy import text

from atelier.database import Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

import pytest

KILL = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> %s"


@pytest.fixture
async def database(fresh_database_url: str) -> AsyncIterator[Database]:
    """A database of the test's own."""
    database = Database(fresh_database_url)
    yield database
    await database.close()


async def test_connections_that_were_lost_are_replaced_before_they_are_used(
    database: Database, fresh_database_url: str
) -> None:
    """After a restart of the server no transaction meets a dead connection of the pool, however many there are."""

    async def ask() -> int:
        async with database.session() as session:
            return int(await session.scalar(text("SELECT 1 FROM pg_sleep(0.05)")) or 0)

    assert await asyncio.gather(*(ask() for _ in range(8))) == [1] * 8
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        killed = connection.execute(KILL, (connection.info.backend_pid,)).fetchone()
    assert killed is not None
    assert killed[0] >= 8
    await asyncio.sleep(0.2)  # the news travels over the sockets
    assert [await ask() for _ in range(10)] == [1] * 10
