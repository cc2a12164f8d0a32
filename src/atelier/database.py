"""PostgreSQL: the declarative base, transactions, a pool for hot reads, UTC datetimes.

Knows no table of any slice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import asyncpg
from sqlalchemy import DateTime, MetaData, event, make_url
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import QueuePool
from sqlalchemy.types import TypeDecorator

from atelier.cache.batcher import Batcher
from atelier.errors import AtelierError, Unavailable
from atelier.observe.metrics import CONNECTIONS, CONNECTIONS_LIMIT
from atelier.wire import sqlstate
from atelier.wire.places import Places
from atelier.wire.problems import RETRY_SECONDS
from atelier.wire.searches import (
    SEARCH_TIMEOUT_MS,
    SEARCH_WAIT_SECONDS,
    SEARCHES,
    SEARCHES_OF_PERSON,
    too_many,
    too_slow,
)

STATEMENT_TIMEOUT_MS = 15_000  # no request or job may hold a connection longer

# Of connections that hold a lock or a subscription: PostgreSQL ends those of a machine that has
# vanished after 25 s.
KEEPALIVE = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
CONNECT_SECONDS = 5
LOOK_UPS = 256  # rows by id per round trip
# Whatever a statement or a connection fails with, for those who then connect again.
# The last is what asyncpg raises when PostgreSQL ends a connection amid an exchange, as
# "cannot switch to state ..."; it is no InterfaceError.
ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The base of every table that Alembic owns."""

    metadata = MetaData(naming_convention=NAMING)


class UtcDateTime(TypeDecorator[datetime]):
    """`timestamptz` that takes only aware datetimes and returns them in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive datetimes, for which some drivers would guess a zone."""
        if value is not None and value.tzinfo is None:
            raise ValueError("naive datetime")
        return value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the time in UTC, whatever the server's zone."""
        return value and value.astimezone(UTC)


def client_error(error: BaseException) -> AtelierError | None:
    """An error of the driver or of SQLAlchemy as the client's; None for our own faults.

    It is a value that no column can hold, or a database that is away.
    """
    driver = error
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return sqlstate.away()
        # SQLAlchemy tells a lost connection by the driver's words, and does not know them all.
        driver = (error.orig and error.orig.__cause__) or error
    if _broke_off(driver):
        return sqlstate.away()
    return sqlstate.client_error(getattr(driver, "sqlstate", None) or "")


def _broke_off(error: BaseException) -> bool:
    """Whether a connection ended under its user, which has no SQLSTATE."""
    if isinstance(error, asyncpg.InterfaceError):
        return not isinstance(error, ValueError)  # that is a bad argument
    return isinstance(error, asyncpg.InternalClientError)


class _Unchanged(asyncpg.Connection):  # type: ignore[misc] # it has no types
    """A connection that is not reset on return to the pool.

    Its statements leave no state behind, and a reset would double the round trips.
    """

    def get_reset_query(self) -> str:
        """Return no statement."""
        return ""


def _refuse_closed(connection: Any, *_: object) -> None:
    """Have the pool replace a connection whose server has gone.

    The driver knows of the loss, so this costs no round trip.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError


class Database:
    """The connections of one process: `begin()` for transactions, `fetch()` for hot reads.

    `url` is `postgresql://...` (libpq's form, sockets by `?host=`). Connections are opened on
    first use.
    """

    def __init__(self, url: str, *, connections: int = 10) -> None:
        self.url = url
        # The number of the lock that says that this process lives; None while it is not held.
        self.presence: int | None = None
        self._connections = connections
        options = {"statement_timeout": str(STATEMENT_TIMEOUT_MS), "application_name": "atelier"}
        self.engine: AsyncEngine = create_async_engine(
            make_url(url).set(drivername="postgresql+asyncpg"),
            pool_size=connections,
            max_overflow=connections,
            async_creator=self._connect,
            hide_parameters=True,  # errors are logged, and parameters are people's data
        )
        event.listen(self.engine.sync_engine, "checkout", _refuse_closed)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        self._options = options
        self._pool: asyncpg.Pool | None = None
        self._search_pool: asyncpg.Pool | None = None
        self._searching = Places("searches", each=SEARCHES_OF_PERSON)
        self._opening = asyncio.Lock()
        self._look_ups: dict[str, Batcher[int, asyncpg.Record | None]] = {}
        self._measure()

    async def _connect(self, *_: Any, **options: Any) -> asyncpg.Connection:
        options |= {"timeout": CONNECT_SECONDS, "server_settings": self._options}
        try:
            return await asyncpg.connect(self.url, **options)
        except (
            OSError,
            TimeoutError,
            asyncpg.CannotConnectNowError,
            asyncpg.TooManyConnectionsError,
        ) as error:
            raise Unavailable(
                "The database does not answer.", retry_after=RETRY_SECONDS
            ) from error

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Open a unit of work. The use case commits; leaving without a commit rolls back."""
        async with self._sessions() as session:
            yield session

    async def pool(self) -> asyncpg.Pool:
        """Return the driver's own pool, for hot reads without the ORM."""
        if self._pool is None:
            async with self._opening:
                if self._pool is None:
                    self._pool = await asyncpg.create_pool(
                        self.url,
                        min_size=1,
                        max_size=self._connections,
                        connect=self._connect,
                        connection_class=_Unchanged,
                    )
        return self._pool

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        """Return the rows of one statement, read outside any transaction."""
        rows: list[asyncpg.Record] = await (await self.pool()).fetch(query, *args)
        return rows

    async def fetchrow(self, query: str, *args: Any) -> asyncpg.Record | None:
        """Return the first row of one statement, or None."""
        return await (await self.pool()).fetchrow(query, *args)

    async def search(self, person: Hashable, query: str, *args: Any) -> list[asyncpg.Record]:
        """Return the rows of a statement that may read a whole table, on behalf of a person.

        Raises TooManyRequests for one too many of the same person, and TooSlow.
        """
        with self._searching.place(person):
            if self._search_pool is None:
                async with self._opening:
                    self._search_pool = self._search_pool or await self._open_search_pool()
            try:
                async with self._search_pool.acquire(timeout=SEARCH_WAIT_SECONDS) as connection:
                    rows: list[asyncpg.Record] = await connection.fetch(query, *args)
                    return rows
            except asyncpg.QueryCanceledError:
                raise too_slow() from None
            except TimeoutError:
                raise too_many() from None

    async def _open_search_pool(self) -> asyncpg.Pool:
        async def connect(*_: Any, **options: Any) -> asyncpg.Connection:
            connection = await self._connect(**options)
            await connection.execute(f"SET statement_timeout = {SEARCH_TIMEOUT_MS}")
            return connection

        return await asyncpg.create_pool(
            self.url,
            min_size=0,
            max_size=SEARCHES,
            connect=connect,
            connection_class=_Unchanged,
        )

    async def ping(self) -> None:
        """Raise when the database does not answer."""
        await self.fetchrow("SELECT 1")

    def _measure(self) -> None:
        """Export how much of the pools is in use.

        A process exports its latest object.
        """
        transactions = cast("QueuePool", self.engine.pool)
        CONNECTIONS.labels("transactions").set_function(transactions.checkedout)
        CONNECTIONS.labels("reads").set_function(
            lambda: self._pool.get_size() - self._pool.get_idle_size() if self._pool else 0
        )
        CONNECTIONS_LIMIT.labels("transactions").set(2 * self._connections)
        CONNECTIONS_LIMIT.labels("reads").set(self._connections)

    async def by_id(self, query: str, key: int) -> asyncpg.Record | None:
        """Return the row whose `id` is `key`.

        Requests during a look-up share the next one. `query` is a constant that selects rows, with
        their `id`, by `$1::bigint[]`.
        """
        look_up = self._look_ups.get(query)
        if look_up is None:
            look_up = self._look_ups[query] = Batcher(partial(self._rows, query), LOOK_UPS)
        return await look_up(key)

    async def _rows(self, query: str, keys: Sequence[int]) -> list[asyncpg.Record | None]:
        rows = {row["id"]: row for row in await self.fetch(query, keys)}
        return [rows.get(key) for key in keys]

    async def close(self) -> None:
        """Close every connection."""
        for pool in (self._pool, self._search_pool):
            if pool is not None:
                await pool.close()
        await self.engine.dispose()
