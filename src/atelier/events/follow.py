"""Follows the outbox's log for many readers in one process: replay from a position, then live.

One connection listens and one query reads each new event, however many readers there are; a reader
that has fallen behind the remembered events reads from the database until it has caught up. Knows
no protocol and no slice.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Sequence
from operator import itemgetter
from typing import Any, Generic, NamedTuple, TypeVar

import asyncpg

from atelier.database import ERRORS, KEEPALIVE, Database
from atelier.errors import OutOfRange, Unavailable
from atelier.events import outbox
from atelier.events.outbox import Sent

Item = TypeVar("Item")

# Recent items remembered, at least, for readers that are nearly up to date
RECENT = 1_000
START_SECONDS = 5.0  # how long a reader waits for a database that has not been reached yet
POLL_SECONDS = 5.0  # between polls without a notification
MARK_SECONDS = 30.0  # after which an idle reader is told how far the log has been read
PAUSE_SECONDS = 1.0  # before another attempt when the database is away

log = logging.getLogger(__name__)


class Batch(NamedTuple, Generic[Item]):
    """Items in the log's order, each with its position, and the position to continue after.

    Without items it is a mark: the reader is up to date at this position.
    """

    items: Sequence[tuple[int, Item]]
    position: int


class Follower(Generic[Item]):
    """Follows the events of some types; of all, if `types` is None.

    `encode` makes each event's form for readers, once for all of them.
    """

    def __init__(
        self,
        database: Database,
        types: Sequence[str] | None,
        encode: Callable[[Sent], Item],
    ) -> None:
        self._database = database
        self._types = types
        self._families = None if types is None else {each.partition(".")[0] for each in types}
        self._encode = encode
        self._floor = self._position = 0  # recent items lie between these positions
        self._recent: list[tuple[int, Item]] = []
        self._grown = asyncio.Event()
        self._ready = asyncio.Event()
        self._ended = False

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until `stop`, through outages of the database; then end every reader."""
        ending: asyncio.Future[Any] = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                try:
                    await self._listen(ending)
                except ERRORS as error:
                    log.warning("not following the log, again in %g s: %r", PAUSE_SECONDS, error)
                    await asyncio.wait({ending}, timeout=PAUSE_SECONDS)
        finally:
            ending.cancel()
            self._ended = True
            self._ready.set()
            self._wake()

    async def follow(self, after: int) -> AsyncIterator[Batch[Item]]:
        """Yield everything after a position and then new events, until `run` ends.

        Yields a mark once the reader is up to date. Raises OutOfRange when the log has been pruned
        beyond the position or has not reached it.
        """
        await self._started()
        patience = 0.0
        while not self._ended:
            # Taken before the look: items that come after it set this event, not a later one.
            grown = self._grown
            items, after = await self._next(after)
            if items:
                yield Batch(items, after)
            elif await _quiet(grown, patience):
                # The first mark comes at once, to tell the reader that it is up to date.
                patience = MARK_SECONDS
                yield Batch((), after)

    async def position(self) -> int:
        """The position up to which the log has been read.

        Anything read from the database after this call holds all changes up to it.
        """
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
        """Return items after a position, and the position that they reach."""
        if after < self._floor:
            return await self._replay(after)
        if after <= self._position:
            start = bisect_right(self._recent, after, key=itemgetter(0))
            return self._recent[start:], self._position
        # Another process may have read further than this one and told the client its position.
        _, last = await outbox.bounds(self._database)
        if after > last:
            raise OutOfRange(f"The log has not come further than {last}.", slug="log-ahead")
        return (), after

    async def _replay(self, after: int) -> tuple[Sequence[tuple[int, Item]], int]:
        position = self._position  # read before the query, which sees all events sent up to here
        found = await outbox.read(self._database, after, self._types)
        # Asked after the read: rows pruned meanwhile would be a gap in what was read.
        pruned = (await outbox.bounds(self._database)).pruned
        if pruned > after:
            raise OutOfRange(f"The log has been pruned up to {pruned}.", slug="log-pruned")
        # A read below its limit found everything of our types up to `position`, too.
        reached = found[-1].position if found else position
        return self._encoded(found), reached if len(found) == outbox.READ_LIMIT else max(
            position, reached
        )

    async def _listen(self, ending: asyncio.Future[Any]) -> None:
        news = asyncio.Event()

        def heard(_connection: object, _process: int, _channel: str, families: str) -> None:
            # Events of other types need no look at once; the next one moves the position past
            # them.
            wanted = self._families
            if not families or wanted is None or not wanted.isdisjoint(families.split()):
                news.set()

        connection = await asyncpg.connect(
            self._database.url, timeout=5, server_settings=KEEPALIVE
        )
        try:
            connection.add_termination_listener(lambda _: news.set())
            await connection.add_listener(outbox.SENT_CHANNEL, heard)
            while not ending.done():
                # Clear first, then look: a notification during the look leads to one more.
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
                # The events up to `last` that were not read are of other types. Passing them keeps
                # the position ahead of pruning.
                self._position = max(self._position, last)
            self._forget()
            if found:
                self._wake()

    def _begin_at(self, position: int) -> None:
        """Forget all items: at the start, or when the log was pruned past us or reset."""
        self._recent.clear()
        self._floor = self._position = position
        self._ready.set()
        self._wake()

    def _forget(self) -> None:
        # At twice the number, so that the list is copied seldom.
        if len(self._recent) > 2 * RECENT:
            self._floor = self._recent[-RECENT - 1][0]
            self._recent = self._recent[-RECENT:]

    def _encoded(self, found: Sequence[Sent]) -> list[tuple[int, Item]]:
        return [(sent.position, self._encode(sent)) for sent in found]

    def _wake(self) -> None:
        # A new event for later waiters; clearing the old one would race with those that it wakes.
        self._grown.set()
        self._grown = asyncio.Event()


async def _quiet(grown: asyncio.Event, seconds: float) -> bool:
    """Return whether the timeout has passed without news."""
    try:
        async with asyncio.timeout(seconds):
            await grown.wait()
    except TimeoutError:
        return True
    return False
