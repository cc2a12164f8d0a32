"""Following the log: everything once, in order, from any position.

What is gone is said to be gone.
"""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
import pytest

from atelier.database import Database
from atelier.errors import OutOfRange
from atelier.events import follow, outbox
from atelier.events.follow import Follower
from tests.waiting import eventually, patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

subjects = itertools.count()
SEND = """
    WITH new AS (
        INSERT INTO outbox (type, subject, sequence, data, position, sent_at)
        SELECT $1, $2 || n, 1, '{}', relay.position + n, now()
        FROM relay_position AS relay, generate_series(1, $3) AS n
        RETURNING position
    ), moved AS (UPDATE relay_position SET position = position + $3)
    SELECT count(*), pg_notify('outbox_sent', $4) FROM new
"""


class Log:
    """The log of a database of its own, written as the relay writes it."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def send(
        self, count: int, event_type: str = "book.created", families: str | None = None
    ) -> None:
        """Some more events."""
        said = event_type.partition(".")[0] if families is None else families
        await self.database.fetch(SEND, event_type, f"{next(subjects)}/", count, said)

    async def prune(self, position: int) -> None:
        """Forget the log up to a position."""
        await self.database.fetch("DELETE FROM outbox WHERE position <= $1", position)


@pytest.fixture
async def log(fresh_database_url: str) -> AsyncIterator[Log]:
    """An empty log."""
    database = Database(fresh_database_url)
    await database.fetch("INSERT INTO relay_position (position) VALUES (0)")
    yield Log(database)
    await database.close()


@asynccontextmanager
async def running(log: Log) -> AsyncIterator[Follower[int]]:
    """A follower of books whose items are their positions."""
    stop = asyncio.Event()
    made = Follower(log.database, ["book.created"], lambda sent: sent.position)
    task = asyncio.create_task(made.run(stop))
    yield made
    stop.set()
    await task


async def read(
    follower: Follower[int], after: int, count: int, found: list[int] | None = None
) -> list[int]:
    """The first `count` items after a position; meanwhile those `found` so far."""
    found = [] if found is None else found
    async with patience():
        async for batch in follower.follow(after):
            assert all(position == item for position, item in batch.items)
            found += [item for _, item in batch.items]
            assert not found or batch.position >= found[-1]
            if len(found) >= count:
                return found
    raise AssertionError("the follower ended")


@pytest.mark.parametrize("after", [0, 1, 499, 500, 501, 1499, 1500])
async def test_a_reader_gets_everything_after_its_position_and_then_what_comes(
    log: Log, after: int
) -> None:
    """Replay, over several queries, joins the live part without a gap or a repeat."""
    await log.send(1500)
    async with running(log) as follower:
        reading = asyncio.create_task(read(follower, after, 1503 - after))
        await asyncio.sleep(0)
        for _ in range(3):
            await log.send(1)
        assert await reading == list(range(after + 1, 1504))


async def test_many_readers_share_what_is_recent(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers anywhere in the log see the same events, also beyond what is kept in memory."""
    monkeypatch.setattr(follow, "RECENT", 10)
    async with running(log) as follower:
        await log.send(5)
        early = [asyncio.create_task(read(follower, after, 205 - after)) for after in (0, 3, 5)]
        for _ in range(20):
            await log.send(10)
        late = [asyncio.create_task(read(follower, after, 205 - after)) for after in (0, 100, 204)]
        found = await asyncio.gather(*early, *late)
        for items, after in zip(found, (0, 3, 5, 0, 100, 204), strict=True):
            assert items == list(range(after + 1, 206))


async def test_other_events_are_passed_over_but_counted(log: Log) -> None:
    """Positions of other types leave gaps between items, and a mark reaches beyond them."""
    await log.send(3, "image.created")
    await log.send(1)
    await log.send(600, "image.created")
    async with running(log) as follower:
        assert await read(follower, 0, 1) == [4]
        async for batch in follower.follow(4):
            assert (list(batch.items), batch.position) == ([], 604)
            break


@pytest.mark.parametrize("families", ["book", "file book image", ""])
async def test_news_of_its_family_is_read_at_once(
    log: Log, monkeypatch: pytest.MonkeyPatch, families: str
) -> None:
    """Alone, among others, or from a relay that does not name the families of its news."""
    monkeypatch.setattr(follow, "POLL_SECONDS", 3600)
    async with running(log) as follower:
        position = await follower.position()
        await log.send(1, families=families)
        assert await read(follower, position, 1) == [1]


async def test_news_of_others_costs_nothing(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events of other families are not looked at until there is something to read."""
    looks: list[int] = []
    bounds = outbox.bounds

    async def counted(database: Database) -> outbox.Bounds:
        found = await bounds(database)
        looks.append(found.last)
        return found

    monkeypatch.setattr(follow, "POLL_SECONDS", 3600)
    monkeypatch.setattr(outbox, "bounds", counted)
    heard = asyncio.Event()
    listener = await asyncpg.connect(log.database.url)
    await listener.add_listener(outbox.SENT_CHANNEL, lambda *_: heard.set())
    async with running(log) as follower:
        position = await follower.position()
        await log.send(3, "image.created")
        await heard.wait()
        await log.send(1)
        assert await read(follower, position, 1) == [4]
    await listener.close()
    assert looks == [0, 4]


async def test_positions_that_the_log_does_not_hold_are_refused(log: Log) -> None:
    """Neither what was pruned nor what has not been yet is a place to begin.

    The last pruned position is one.
    """
    await log.send(20)
    await log.prune(10)
    async with running(log) as follower:
        assert await read(follower, 10, 10) == list(range(11, 21))
        for after, slug in ((9, "log-pruned"), (0, "log-pruned"), (21, "log-ahead")):
            with pytest.raises(OutOfRange) as refused:
                await read(follower, after, 1)
            assert refused.value.slug == slug


async def test_a_reader_that_pruning_overtakes_is_told(log: Log) -> None:
    """Events that vanish between two reads of a slow reader are no silent gap."""
    await log.send(1200)
    async with running(log) as follower:
        following = follower.follow(0)
        first = await anext(following)
        assert first.position == outbox.READ_LIMIT
        await log.prune(700)
        with pytest.raises(OutOfRange):
            await anext(following)


async def test_a_lost_connection_loses_nothing(log: Log, fresh_database_url: str) -> None:
    """When the server ends every connection, readers go on with what was sent meanwhile."""
    async with running(log) as follower:
        await log.send(5)
        found: list[int] = []
        reading = asyncio.create_task(read(follower, 0, 10, found))
        await eventually(lambda: len(found) == 5)  # from now on it asks the database nothing
        killer = await asyncpg.connect(fresh_database_url)
        await killer.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
        await killer.execute(
            SEND.replace("$1", "'book.created'")
            .replace("$2", "'again/'")
            .replace("$3", "5")
            .replace("$4", "'book'")
        )
        await killer.close()
        assert await reading == list(range(1, 11))


async def test_a_log_that_was_set_back_is_noticed(log: Log) -> None:
    """After a restore from a backup the readers of the future are refused and the others go on."""
    await log.send(50)
    async with running(log) as follower:
        assert await read(follower, 0, 50) == list(range(1, 51))
        await log.database.fetch("DELETE FROM outbox WHERE position > 10")
        await log.database.fetch("UPDATE relay_position SET position = 10")
        reading = asyncio.create_task(read(follower, 50, 1))
        await log.send(2)
        with pytest.raises(OutOfRange):
            await reading
        assert await read(follower, 10, 2) == [11, 12]


async def test_readers_end_with_the_follower(log: Log) -> None:
    """When the process stops, so do those who wait for news."""
    async with running(log) as follower:
        following = follower.follow(0)
        assert (await anext(following)).items == ()
        waiting = asyncio.ensure_future(anext(following, "ended"))
        await asyncio.sleep(0)
    async with patience():
        assert await waiting == "ended"
