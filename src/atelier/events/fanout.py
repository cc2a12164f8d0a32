"""Hands the log of events out to the many readers of one process, live and from any position.

The log is followed only while somebody reads. Each new event is encoded once and offered to those
readers alone who may see it; a reader that has fallen behind reads its part from the database.
Knows no protocol.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from contextvars import Context

from atelier.database import ERRORS, Database
from atelier.errors import OutOfRange, Unavailable
from atelier.events import outbox
from atelier.events.follow import Batch, Follower
from atelier.events.visible import Audience, Entry, entry_of, require_reached, scan
from atelier.retry import end

# Between two rounds of handing out, so that a busy log wakes each reader 20 times a second at most
ROUND_SECONDS = 0.05
PENDING = 1_000  # entries offered to a reader that takes none; then it reads the database
SCANS = 2  # readers that read the database at once: the other connections are for requests
AGAIN_SECONDS = 1.0  # before another attempt when the log cannot be followed
START_SECONDS = 5.0  # how long a reader waits for a database that has not been reached yet

log = logging.getLogger(__name__)


class Reader:
    """One reader's place in the log, and the entries that it has not taken yet."""

    __slots__ = (
        "_behind", "_falls", "_fanout", "_pending", "_woken", "audience", "ended", "position",
    )  # fmt: skip

    def __init__(self, fanout: Fanout, audience: Audience, position: int) -> None:
        self._fanout = fanout
        self._pending: list[Entry] = []
        self._woken = asyncio.Event()
        self._behind, self._falls = True, 0
        self.audience = audience
        self.position = position  # everything up to here was taken
        self.ended = False

    def end(self) -> None:
        """Have the reader stop: `take` returns at once."""
        self.ended = True
        self._woken.set()

    def offer(self, entry: Entry) -> None:
        """Keep an entry that the reader may want."""
        if self._behind or entry.position <= self.position:
            return
        if not (self.audience.sees(entry) or self.audience.is_changed_by(entry)):
            return
        if self._pending and self._pending[-1] is entry:  # it has two keys of ours
            return
        if len(self._pending) < PENDING:
            self._pending.append(entry)
            self._woken.set()
        else:
            self.fall_behind()

    def fall_behind(self) -> None:
        """Read the database next, from the position up to which entries were taken."""
        self._pending = []
        self._behind, self._falls = True, self._falls + 1
        self._woken.set()

    async def take(self, seconds: float) -> Sequence[Entry]:
        """Return the next entries; none when none came within `seconds`.

        Raises OutOfRange when the log does not hold what comes next.
        """
        if self._behind:
            return await self._catch_up()
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass
        if self._behind or self.ended:
            return ()
        self._woken.clear()
        taken, self._pending = self._pending, []
        # All that came up to here has been offered; one ahead of this process stays there.
        self.position = max(self.position, self._fanout.position)
        return taken

    async def _catch_up(self) -> Sequence[Entry]:
        fanout, falls = self._fanout, self._falls
        found: Sequence[Entry] = ()
        async with fanout.scans:
            if self.position < fanout.position:
                found, self.position = await scan(
                    fanout.database, self.audience, self.position, fanout.position
                )
            else:  # another process has told it, and may have read further than this one
                require_reached(await outbox.bounds(fanout.database), self.position)
        # Nothing is awaited from here on: what comes next will be offered.
        self._behind = self.position < fanout.position or falls != self._falls
        if not self._behind and not self.ended:
            self._woken.clear()
        return found

    async def skip(self) -> None:
        """Go on from the end of the log."""
        self.position = (await outbox.bounds(self._fanout.database)).last
        self.fall_behind()

    def become(self, audience: Audience, position: int) -> None:
        """Read as this audience what comes after a position that was taken."""
        self._fanout.leave(self)
        self.audience, self.position = audience, position
        self.fall_behind()
        self._fanout.enter(self)


class Fanout:
    """The readers of one process, and the one that follows the log for them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.position = 0  # everything up to here has been offered
        self.scans = asyncio.Semaphore(SCANS)
        self._readers: set[Reader] = set()
        self._by_key: dict[Hashable, set[Reader]] = {}
        self._begun = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self._endings: set[asyncio.Task[None]] = set()
        self._users = 0

    @property
    def readers(self) -> int:
        """How many read."""
        return len(self._readers)

    @asynccontextmanager
    async def reading(self, audience: Audience, after: int | None) -> AsyncIterator[Reader]:
        """Read the log after a position; None: from now on. Raises Unavailable."""
        self._users += 1
        if self._following is None:
            # Without the context of the request that happens to be the first.
            self._following = asyncio.create_task(self._follow(), context=Context())
        try:
            await self._started()
            reader = Reader(self, audience, self.position if after is None else after)
            self.enter(reader)
            try:
                yield reader
            finally:
                self.leave(reader)
        finally:
            self._users -= 1
            if not self._users and self._following is not None:
                ending = asyncio.create_task(end(self._following), context=Context())
                self._endings.add(ending)
                ending.add_done_callback(self._endings.discard)
                self._following = None
                self._begun.clear()

    def end(self) -> None:
        """End every reader."""
        for reader in self._readers:
            reader.end()

    def enter(self, reader: Reader) -> None:
        """Have a reader offered what its audience asks for."""
        self._readers.add(reader)
        for key in reader.audience.keys:
            self._by_key.setdefault(key, set()).add(reader)

    def leave(self, reader: Reader) -> None:
        """Offer it nothing more."""
        self._readers.discard(reader)
        for key in reader.audience.keys:
            there = self._by_key[key]
            there.discard(reader)
            if not there:
                del self._by_key[key]

    async def _started(self) -> None:
        begun = self._begun
        try:
            async with asyncio.timeout(START_SECONDS):
                await begun.wait()
        except TimeoutError:
            raise Unavailable("The log cannot be read yet.", retry_after=1) from None

    async def _follow(self) -> None:
        follower = Follower(self.database, None, entry_of)
        running = asyncio.create_task(follower.run(asyncio.Event()))
        me = asyncio.current_task()
        try:
            while self._following is me:
                try:
                    await self._follow_with(follower)
                except OutOfRange as error:
                    log.warning("the log is another one than before: %s", error)
                except (Unavailable, *ERRORS) as error:
                    log.warning("not reading the log, again in %g s: %r", AGAIN_SECONDS, error)
                    await asyncio.sleep(AGAIN_SECONDS)
        finally:
            if self._following is me:  # it has failed: readers come again, to another one
                self._following = None
                self._begun.clear()
                self.end()
            await end(running)

    async def _follow_with(self, follower: Follower[Entry]) -> None:
        me = asyncio.current_task()
        self._begin(await follower.position())
        async for batch in follower.follow(self.position):
            if self._following is not me:
                return
            self._hand_out(batch)
            await asyncio.sleep(ROUND_SECONDS)

    def _begin(self, position: int) -> None:
        """Hand out from here; whoever reads already looks for itself what lies between."""
        self.position = position
        self._begun.set()
        for reader in self._readers:
            reader.fall_behind()

    def _hand_out(self, batch: Batch[Entry]) -> None:
        for _, entry in batch.items:
            for key in entry.keys:
                for reader in self._by_key.get(key, ()):
                    reader.offer(entry)
        self.position = batch.position
