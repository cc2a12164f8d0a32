"""Connections to the database: what becomes of them when the server goes away and comes back."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import text

from atelier.database import Database
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

import pytest

KILL = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = "
    "current_database() AND pid <> %s"
)


@pytest.fixture
async def database(fresh_database_url: str) -> AsyncIterator[Database]:
    """A database of the test's own."""
    database = Database(fresh_database_url)
    yield database
    await database.close()


async def test_connections_that_were_lost_are_replaced_before_they_are_used(
    database: Database, fresh_database_url: str
) -> None:
    """After a restart of the server no transaction gets a dead connection from the pool."""

    async def ask() -> int:
        async with database.session() as session:
            return int(await session.scalar(text("SELECT 1")) or 0)

    opened: list[Any] = []
    async with AsyncExitStack() as held:
        for _ in range(8):
            session = await held.enter_async_context(database.session())
            raw = await (await session.connection()).get_raw_connection()
            opened.append(raw.driver_connection)
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        killed = connection.execute(KILL, (connection.info.backend_pid,)).fetchone()
    assert killed is not None
    assert killed[0] >= 8
    await eventually(lambda: all(connection.is_closed() for connection in opened))
    assert [await ask() for _ in range(10)] == [1] * 10


async def test_a_transaction_that_was_left_open_ends_with_its_connections_return(
    database: Database,
) -> None:
    """Without a reset on return, the next user of the connection is still in no transaction."""
    pool = await database.pool()
    async with pool.acquire() as connection:
        await connection.execute("BEGIN; CREATE TEMPORARY TABLE unfinished ()")
        assert connection.is_in_transaction()
    async with pool.acquire() as connection:
        assert not connection.is_in_transaction()
        assert await connection.fetchval("SELECT to_regclass('unfinished')") is None


def test_only_commands_that_end_change_a_pooled_connection() -> None:
    """Only short-lived processes use a pooled connection outside a transaction.

    SET and session locks would outlive the connection's return.
    """
    source = Path(__file__).parents[1] / "src" / "atelier"
    taken = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if ".acquire()" in path.read_text()
    }
    assert taken <= {"commands/check.py", "classify/cluster.py"}  # the latter takes a semaphore
