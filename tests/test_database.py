"""Connections to the database: what becomes of them when the server goes away and comes back."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import psycopg
import pytest
from asyncpg.exceptions._base import DataError  # of the driver, not of the server
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from atelier.database import ERRORS, Database, client_error
from atelier.errors import Unavailable
from atelier.up.engines import start_postgres
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

KILL = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = "
    "current_database() AND pid <> %s"
)

KILLS = 20
BROKEN = "cannot switch to state 15; another operation (2) is in progress"  # asyncpg's words


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
    # The second takes a semaphore; the third works in one transaction.
    assert taken <= {"commands/check.py", "classify/cluster.py", "accounts/sealing.py"}


@pytest.fixture
def mortal_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL of the test's own, to be killed."""
    folder = tmp_path_factory.mktemp("mortal")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o711)  # when root runs the tests PostgreSQL is another user
    engine = start_postgres(folder / "postgres", durable=False)
    yield engine.url
    engine.halt()


async def backends(url: str) -> list[int]:
    """The server's processes behind our connections; none while it recovers."""
    found: list[int] = []
    with suppress(*ERRORS):
        connection = await asyncpg.connect(url)
        rows = await connection.fetch(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'atelier'"
        )
        found = [row["pid"] for row in rows]
        await connection.close()
    return found


async def test_whatever_a_killed_server_leads_to_is_unavailable(mortal_url: str) -> None:
    """However a connection breaks off under its user: no error is taken for a fault of ours."""
    database = Database(mortal_url)
    await database.ping()
    unknown: list[Exception] = []
    broken = 0
    stop = asyncio.Event()

    async def transaction() -> None:
        async with database.session() as session:
            for _ in range(3):
                await session.execute(text("SELECT pg_sleep(0.001)"))
            await session.commit()

    async def read() -> None:
        await database.fetch("SELECT generate_series(1, 100)")

    async def work(use: Callable[[], Awaitable[None]]) -> None:
        nonlocal broken
        while not stop.is_set():
            try:
                await use()
            except Exception as error:
                broken += 1
                if not isinstance(error, Unavailable) and client_error(error) is None:
                    unknown.append(error)
                await asyncio.sleep(0.01)

    working = [asyncio.create_task(work(use)) for use in (transaction, read) * 10]
    for _ in range(KILLS):
        before = broken
        victims = await eventually(lambda: backends(mortal_url))
        os.kill(random.choice(victims), signal.SIGKILL)
        await eventually(lambda before=before: broken > before)
    stop.set()
    await asyncio.gather(*working)
    await database.close()
    assert unknown == []


def wrapped(error: Exception) -> DBAPIError:
    """The error as SQLAlchemy raises it."""
    translated = Exception(str(error))
    translated.__cause__ = error
    return DBAPIError("SELECT 1", None, translated)


@pytest.mark.parametrize(
    ("error", "slug"),
    [
        (asyncpg.InternalClientError(BROKEN), "unavailable"),
        (asyncpg.InterfaceError("connection is closed"), "unavailable"),
        (asyncpg.ConnectionDoesNotExistError("closed"), "unavailable"),
        (asyncpg.CrashShutdownError("crash"), "unavailable"),
        (DataError("no number"), None),
        (asyncpg.UndefinedTableError("no table"), None),
    ],
)
def test_an_error_means_the_same_with_and_without_sqlalchemy(
    error: Exception, slug: str | None
) -> None:
    """A broken connection is told from a fault of ours, whoever raises it."""
    for each in (error, wrapped(error)):
        known = client_error(each)
        assert (known.slug if known else None) == slug
