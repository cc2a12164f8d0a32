"""Follows the outbox's log for any number of readers in one process: replay from a position, then live.

One connection listens and one query reads each new event, however many readers there are; who lags
behind what is remembered reads from the database until it has caught up. Knows no protocol and no
slice.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Sequence
from operator import itemgetter
from typing import Any, Generic, NamedTuple, TypeVar

import asyncpg

from atelier.database import KEEPALIVE, Database
from atelier.errors import AtelierError, Unavailable
from atelier.events import outbox
from atelier.events.outbox import Sent

Item = TypeVar("Item")

# Items remembered at least, once there are so many, for readers that are nearly up to date
RECENT = 1_000
START_SECONDS = 5.0  # how long a reader waits for a database that has not been reached yet
POLL_SECONDS = 5.0  # between looks that no notification asked for
MARK_SECONDS = 30.0  # after which a reader without news is told how far the log has been read
PAUSE_SECONDS = 1.0  # before another attempt when the database is away
DATABASE_ERRORS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)

log = logging.getLogger(__name__)


class OutOfRange(AtelierError):
    """The log does not hold this position."""

    slug = "out-of-range"


class Batch(NamedTuple, Generic[Item]):
    """Items in the log's order, each with its position, and the position to go on after.

    No items: a mark.
    """

    items: Sequence[tuple[int, Item]]
    position: int


class Follower(Generic[Item]):
    """Follows the events of some types.

    `encode` makes of each what readers get, once for all of them.
    """

    def __init__(
        self, database: Database, types: Sequence[str], encode: Callable[[Sent], Item]
    ) -> None:
        self._database = database
        self._types = types
        self._families = {each.partition(".")[0] for each in types}
        self._encode = encode
        self._floor = self._position = 0  # the items between these positions are the recent ones
        self._recent: list[tuple[int, Item]] = []
        self._grown = asyncio.Event()
        self._ready = asyncio.Event()
        self._ended = False

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until `stop`, through outages of the database; then every reader ends."""
        ending: asyncio.Future[Any] = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                try:
                    await self._listen(ending)
                except DATABASE_ERRORS as error:
                    log.warning("not following the log, again in %g s: %r", PAUSE_SECONDS, error)
                    await asyncio.wait({ending}, timeout=PAUSE_SECONDS)
        finally:
            ending.cancel()
            self._ended = True
            self._ready.set()
            self._wake()

    async def follow(self, after: int) -> AsyncIterator[Batch[Item]]:
        """Everything after a position and then what comes, until `run` ends.

        A mark once the reader is up to date.

        Raises OutOfRange when the log has been pruned beyond the position or has not come so far.
        """
        await self._started()
        patience = 0.0
        while not self._ended:
            grown = self._grown
            items, after = await self._next(after)
            if items:
                yield Batch(items, after)
            elif await _quiet(grown, patience):
                patience = MARK_SECONDS
                yield Batch((), after)

    async def position(self) -> int:
        """How far the log has been read; whatever is read from the database after this holds all changes up to it."""
        await self._started()
        return self._position

    async def _started(self) -> None:
        if self._ready.is_set():
            return
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._ready.wait()
        except TimeoutError:
            raise Unavailable("The log cannot be read yet.", retry_after=1) from None

    async def _next(self, after: int) -> tuple[Sequence[tuple[int, Item]], int]:
        """Items after a position, and how far they reach."""
        if after < self._floor:
            return await self._replay(after)
        if after <= self._position:
            start = bisect_right(self._recent, after, key=itemgetter(0))
            return self._recent[start:], self._position
        last = (
            await outbox.bounds(self._database)
        ).last  # another process may have been faster than this one
        if after > last:
            raise OutOfRange(f"The log has not come further than {last}.", slug="log-ahead")
        return (), after

    async def _replay(self, after: int) -> tuple[Sequence[tuple[int, Item]], int]:
        position = self._position  # before the query: it sees all that was sent up to here
        found = await outbox.read(self._database, after, self._types)
        pruned = (await outbox.bounds(self._database)).pruned
        if pruned > after:
            raise OutOfRange(f"The log has been pruned up to {pruned}.", slug="log-pruned")
        reached = found[-1].position if found else position
        return self._encoded(found), reached if len(found) == outbox.READ_LIMIT else max(
            position, reached
        )

    async def _listen(self, ending: asyncio.Future[Any]) -> None:
        news = asyncio.Event()

        def heard(_connection: object, _process: int, _channel: str, families: str) -> None:
            if not families or not self._families.isdisjoint(families.split()):
                news.set()  # the others' events are counted by the next look

        connection = await asyncpg.connect(
            self._database.url, timeout=5, server_settings=KEEPALIVE
        )
        try:
            connection.add_termination_listener(lambda _: news.set())
            await connection.add_listener(outbox.SENT_CHANNEL, heard)
            while not ending.done():
                news.clear()
                await self._catch_up()
                waiting: asyncio.Future[Any] = asyncio.ensure_future(news.wait())
                await asyncio.wait(
                    {waiting, ending}, timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                waiting.cancel()
                if connection.is_closed():
                    raise ConnectionResetError("the connection was closed")
        finally:
            connection.terminate()

    async def _catch_up(self) -> None:
        full = True
        while full:
            pruned, last = await outbox.bounds(self._database)
            if not self._ready.is_set() or not pruned <= self._position <= last:
                self._begin_at(last)
            found = await outbox.read(self._database, self._position, self._types)
            full = len(found) == outbox.READ_LIMIT
            if found:
                self._recent += self._encoded(found)
                self._position = found[-1].position
            if not full:
                self._position = max(self._position, last)
            self._forget()
            if found:
                self._wake()

    def _begin_at(self, position: int) -> None:
        """Remember nothing: at the start, and when the log has left us behind or has been set back."""
        self._recent.clear()
        self._floor = self._position = position
        self._ready.set()
        self._wake()

    def _forget(self) -> None:
        if len(self._recent) > 2 * RECENT:
            self._floor = self._recent[-RECENT - 1][0]
            self._recent = self._recent[-RECENT:]

    def _encoded(self, found: Sequence[Sent]) -> list[tuple[int, Item]]:
        return [(sent.position, self._encode(sent)) for sent in found]

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()


async def _quiet(grown: asyncio.Event, seconds: float) -> bool:
    """Whether nothing came for so long."""
    try:
        async with asyncio.timeout(seconds):
            await grown.wait()
    except TimeoutError:
        return True
    return False
