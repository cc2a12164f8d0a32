"""The relay loses nothing, keeps each subject's order and leaves no gaps, whatever is killed."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import tempfile
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from atelier import locks
from atelier.database import Database
from atelier.errors import Unavailable
from atelier.events import outbox, relay
from atelier.events.bus.streams import StreamsBus
from atelier.up.engines import start_postgres, start_valkey
from tests.waiting import patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from atelier.events.messages import Event
from tests.roles.relay_support import (
    SERVICE,
    Place,
    Recorder,
    Refusing,
    all_sent,
    assert_in_order,
    positions,
    received,
    relaying,
    some_sent,
    start_relay,
    write,
)


@pytest.fixture(params=["streams", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """A bus with a service that has subscribed to everything."""
    url = request.getfixturevalue("amqp_url" if request.param == "rabbitmq" else "redis_url")
    place = Place(request.param, url)
    async with place.bus() as bus:
        await bus.declare(SERVICE, ["#"])
        yield place
    await place.clear()


@pytest.fixture
async def database(fresh_database_url: str) -> AsyncIterator[Database]:
    """An empty database."""
    database = Database(fresh_database_url)
    yield database
    await database.close()


async def test_everything_arrives_in_order(database: Database, place: Place) -> None:
    """Events written before and while the relay runs are published and logged in order."""
    await write(database, 10, 30)
    async with place.bus() as bus, relaying(database.url, bus):
        await write(database, 10, 30, first=31)
        await all_sent(database)
    events = await received(place, 600)
    assert_in_order(events, 10, 60)
    assert await positions(database) == list(range(1, 601))
    assert_in_order([sent.event for sent in await outbox.read(database, limit=1000)], 10, 60)


@asynccontextmanager
async def held_up(database: Database, count: int) -> AsyncIterator[None]:
    """No relay gets beyond so many events meanwhile, however late the test is to kill it."""
    connection = await asyncpg.connect(database.url)
    async with connection.transaction():
        row = f"SELECT id FROM outbox ORDER BY id OFFSET {count} LIMIT 1"
        await connection.execute(f"SELECT FROM outbox WHERE id = ({row}) FOR UPDATE")
        yield
    await connection.close()


def wait_for_line(process: subprocess.Popen[bytes], word: bytes) -> None:
    """Read what a relay says until the word comes."""
    assert process.stdout
    assert any(word in line for line in process.stdout), f"it ended before saying {word!r}"


async def test_kill_9_while_publishing(database: Database, place: Place) -> None:
    """When relays are killed amid 2,000 events, all arrive in order and positions have no gap."""
    await write(database, 50, 40)
    for count, most in ((400, 1000), (1000, 1600)):
        async with held_up(database, most):
            process = start_relay(database, place)
            await some_sent(database, count)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert process.returncode == -signal.SIGKILL
    assert await database.fetch("SELECT FROM outbox WHERE position IS NULL LIMIT 1")
    with start_relay(database, place) as process:
        await all_sent(database)
        process.kill()
    assert_in_order(await received(place, 2000), 50, 40)
    assert await positions(database) == list(range(1, 2001))


@pytest.mark.parametrize("keys", [None, "{prefix}.events:position"], ids=["wiped", "its end lost"])
async def test_what_the_bus_has_lost_is_sent_again(
    database: Database, redis: Redis, redis_url: str, keys: str | None
) -> None:
    """After a wipe or a lost checkpoint, the log is sent again in order at the same positions."""
    place = Place("streams", redis_url)
    await write(database, 10, 30)
    async with place.bus() as bus, relaying(database.url, bus):
        await all_sent(database)
        if keys is None:
            await redis.flushdb()
        else:
            await redis.set(keys.format(prefix=place.prefix), 100)
        await write(database, 10, 1, first=31)
        await all_sent(database)
        assert_in_order(await received(place, 310), 10, 31)
    assert await positions(database) == list(range(1, 311))


@pytest.mark.rabbitmq
async def test_what_rabbitmq_has_lost_is_sent_again(database: Database, amqp_url: str) -> None:
    """After a wipe of the broker its queues are made again and the log is sent again in order."""
    place = Place("rabbitmq", amqp_url)
    await write(database, 10, 30)
    async with place.bus() as bus:
        await bus.declare(SERVICE, ["#"])
        async with relaying(database.url, bus):
            await all_sent(database)
            await place.clear()
            await write(database, 10, 1, first=31)
            await all_sent(database)
            assert_in_order(await received(place, 310), 10, 31)
    assert await positions(database) == list(range(1, 311))
    await place.clear()


class WipedBus(StreamsBus):
    """A bus whose engine loses everything right after it has confirmed a certain batch."""

    def __init__(self, redis: Redis, prefix: str, after: int) -> None:
        super().__init__(redis, prefix=prefix)
        self.engine, self.left = redis, after

    async def publish(self, events: Sequence[Event]) -> None:
        """As ever; then perhaps the wipe."""
        await super().publish(events)
        self.left -= 1
        if self.left == 0:
            await self.engine.flushdb()


@pytest.mark.parametrize("after", [1, 13, 30, 52])
async def test_a_wipe_between_confirmation_and_stamp_loses_nothing(
    database: Database, redis: Redis, redis_url: str, after: int
) -> None:
    """What the bus confirmed and lost before it had a position is sent again, in order."""
    place = Place("streams", redis_url)
    await write(database, 20, 30)  # three batches of 13 waves
    async with relaying(database.url, WipedBus(redis, place.prefix, after)):
        await all_sent(database)
        assert_in_order(await received(place, 600), 20, 30)
    assert await positions(database) == list(range(1, 601))


async def test_a_duty_that_hides_its_cancellation_holds_nothing_up(database: Database) -> None:
    """A relay that loses its database leads again though a driver reports the end as an error."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            ended.set()
            raise OSError("the connection was closed") from None

    bus = Recorder()
    async with relaying(database.url, bus, relay.Periodic("a duty", 3600, stubborn)):
        await begun.wait()
        begun.clear()
        await database.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'atelier relay' AND datname = current_database()"
        )
        await ended.wait()
        await begun.wait()
        await write(database, 1, 1)
        await all_sent(database)
    assert len(bus.events) == 1


async def test_of_two_relays_one_is_active(database: Database, place: Place) -> None:
    """The second relay stands by, sends nothing twice, and takes over when the first is killed."""
    first = start_relay(database, place)
    wait_for_line(first, b"active")
    with first, start_relay(database, place) as second:
        wait_for_line(second, b"standing by")
        await write(database, 5, 10)
        await all_sent(database)
        assert await positions(database) == list(range(1, 51))
        first.kill()
        await write(database, 5, 10, first=11)
        await all_sent(database)
        second.kill()
    assert await positions(database) == list(range(1, 101))
    assert_in_order(await received(place, 100), 5, 20)


async def test_a_late_commit_is_not_passed_by(database: Database) -> None:
    """An event with a lower id than one already sent is sent when its transaction commits."""
    bus = Recorder()
    async with relaying(database.url, bus), database.session() as slow:
        outbox.record(slow, "test.event", "slow", 1, {})
        await slow.flush()
        await write(database, 3, 1)
        await some_sent(database, 3)
        await slow.commit()
        await some_sent(database, 4)
    assert [event.subject for event in bus.events] == [
        "subjects/1",
        "subjects/2",
        "subjects/3",
        "slow",
    ]
    assert await positions(database) == [1, 2, 3, 4]


async def test_a_sleeping_relay_is_woken(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer's notification sends its event: this relay polls only once an hour."""
    monkeypatch.setattr(relay, "POLL_SECONDS", 3600)
    async with relaying(database.url, Recorder()):
        for sequence in range(1, 6):
            await asleep(database)
            await write(database, 1, 1, first=sequence)
            await all_sent(database)
    assert await positions(database) == [1, 2, 3, 4, 5]


async def asleep(database: Database) -> None:
    """Return when the relay holds the lock that means sleep."""
    query = (
        "SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = $1 AND objid = $2 "
        "AND mode = 'ExclusiveLock'"
    )
    async with patience():
        while not await database.fetch(query, locks.RELAY_CLASS, locks.RELAY_ASLEEP):
            await asyncio.sleep(0.005)


async def test_no_wake_is_missed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """In any interleaving of writers and an idle relay, no event waits for the next poll."""
    monkeypatch.setattr(relay, "POLL_SECONDS", 3600)

    async def writer(number: int) -> None:
        chance = random.Random(number)
        for sequence in range(1, 31):
            async with database.session() as session:
                outbox.record(session, "test.event", f"subjects/{number}", sequence, {})
                await session.flush()
                await asyncio.sleep(chance.uniform(0, 0.01))
                await session.commit()
            await asyncio.sleep(chance.uniform(0, 0.02))

    bus = Recorder()
    async with relaying(database.url, bus):
        await asyncio.gather(*(writer(number) for number in range(5)))
        await all_sent(database)
    assert_in_order(bus.events, 5, 30)


@pytest.mark.parametrize("seed", range(5))
async def test_a_bus_that_takes_some(
    database: Database, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """A bus that refuses any events of any batch delays them but cannot mix a subject's order."""
    monkeypatch.setattr(relay, "PAUSES_SECONDS", (0.001, 0.01))
    bus = Refusing(seed)
    await write(database, 7, 20)
    async with relaying(database.url, bus):
        await all_sent(database)
    assert_in_order(bus.events, 7, 20)
    assert await positions(database) == list(range(1, 141))


async def test_services_are_declared_before_the_first_event(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that has never run misses nothing: its queue is declared before any event."""
    monkeypatch.setattr(relay, "PAUSES_SECONDS", (0.001, 0.01))
    asked: list[str] = []

    class Reluctant(Recorder):
        async def declare(self, service: str, patterns: Sequence[str]) -> None:
            assert not self.events
            asked.append(f"{service} {patterns}")
            if len(asked) == 2:
                raise Unavailable("once")

    services = {"one": ["a.*"], "two": ["#"]}
    stop = asyncio.Event()
    await write(database, 2, 1)
    task = asyncio.create_task(relay.run(database.url, Reluctant(), (), stop, services=services))
    await all_sent(database)
    stop.set()
    await task
    assert asked == ["one ['a.*']", "two ['#']", "two ['#']"]


async def test_what_was_confirmed_is_not_sent_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the bus refuses half-way through a batch, what it had confirmed before is stamped."""
    monkeypatch.setattr(relay, "PAUSES_SECONDS", (0.001, 0.01))

    class Once(Recorder):
        async def publish(self, events: Sequence[Event]) -> None:
            if len(self.batches) == 2:
                self.batches.append([])
                raise Unavailable("once")
            await super().publish(events)

    bus = Once()
    await write(database, 4, 5)
    async with relaying(database.url, bus):
        await all_sent(database)
    assert Counter(event.id for event in bus.events).most_common(1)[0][1] == 1
    assert_in_order(bus.events, 4, 5)


async def test_redis_stopped_and_started(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the bus is down events wait in the table; when it is back they are sent."""
    monkeypatch.setattr(relay, "PAUSES_SECONDS", (0.05, 0.2))
    valkey = start_valkey(tmp_path / "valkey")
    place = Place("streams", valkey.url)
    try:
        async with place.bus() as bus:
            await bus.declare(SERVICE, ["#"])
            async with relaying(database.url, bus):
                await write(database, 5, 10)
                await all_sent(database)
                valkey.stop()
                await write(database, 5, 10, first=11)
                await asyncio.sleep(0.5)
                assert await positions(database) == [*range(1, 51), *[None] * 50]
                valkey = start_valkey(tmp_path / "valkey")
                await all_sent(database)
            assert_in_order(await received(place, 100), 5, 20)
    finally:
        valkey.halt()
    assert await positions(database) == list(range(1, 101))


async def test_the_relays_session_is_killed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relay whose connection is lost reconnects and takes the lock before it stamps anything."""
    monkeypatch.setattr(relay, "PAUSES_SECONDS", (0.01, 0.1))
    bus = Recorder()
    kill = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'atelier relay' AND datname = current_database()"
    )
    async with relaying(database.url, bus):
        for sequence in range(1, 200):
            await write(database, 10, 1, first=sequence)
            if sequence % 20 == 0:
                await database.fetch(kill)
        await all_sent(database)
    assert_in_order(bus.events, 10, 199)
    assert await positions(database) == list(range(1, 1991))


async def test_postgresql_killed_and_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay survives the crash of PostgreSQL and goes on when it is back."""
    monkeypatch.setattr(relay, "PAUSES_SECONDS", (0.05, 0.2))
    monkeypatch.setattr(relay, "POLL_SECONDS", 0.1)
    with tempfile.TemporaryDirectory(prefix="atelier-test-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # when root runs the tests PostgreSQL is another user
        postgres = start_postgres(folder / "postgres")
        bus = Recorder()
        try:
            async with relaying(postgres.url, bus):
                await make_tables(postgres.url)
                await exchange(postgres.url, first=1)
                postgres.process.kill()
                postgres.process.wait()
                postgres = start_postgres(folder / "postgres")
                await exchange(postgres.url, first=11)
        finally:
            postgres.halt()
    assert_in_order(bus.events, 3, 20)


async def make_tables(url: str) -> None:
    """The outbox's tables; until now the relay has looked in vain for them."""
    database = Database(url)
    metadata = outbox.Outbox.metadata
    tables = [
        metadata.tables[model.__tablename__] for model in (outbox.Outbox, outbox.RelayPosition)
    ]
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all, tables=tables)
    await database.close()


async def exchange(url: str, first: int) -> None:
    """Ten events of three subjects each, written and sent."""
    database = Database(url)
    await write(database, 3, 10, first=first)
    await all_sent(database)
    assert await positions(database) == list(range(1, 3 * (first + 9) + 1))
    await database.close()


async def test_a_relay_without_the_lock_cannot_stamp(database: Database) -> None:
    """Two relays that both believe to be active give no event two positions: the second fails."""
    await write(database, 2, 1)
    connection = await asyncpg.connect(database.url)
    await connection.execute(relay.START)
    rows = await connection.fetch(relay.UNSENT, [])
    async with relaying(database.url, Recorder()):
        await all_sent(database)
    active = relay.Relay(connection, asyncio.Event(), Recorder(), asyncio.Event())
    with pytest.raises(RuntimeError, match="2 events were sent, but 0"):
        await active.stamp([row["id"] for row in rows])
    assert await outbox.bounds(database) == (0, 2)
    await connection.close()


async def test_no_sleep_over_events_committed_meanwhile(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relay looks once more before it waits: a writer in between did not notify it."""
    monkeypatch.setattr(relay, "POLL_SECONDS", 3600)
    connection = await asyncpg.connect(database.url)
    active = relay.Relay(connection, asyncio.Event(), Recorder(), asyncio.Event())
    assert await active.send([]) == []
    await write(database, 1, 1)
    async with patience():
        await active.sleep()
    assert (
        await connection.fetchval(
            f"SELECT pg_advisory_unlock({locks.RELAY_CLASS}, {locks.RELAY_ASLEEP})"
        )
        is False
    )
    await connection.close()


async def test_readers_of_the_log_are_notified(database: Database) -> None:
    """Listeners are told that the log has grown, and by events of which families."""
    heard: asyncio.Queue[object] = asyncio.Queue()
    listener = await asyncpg.connect(database.url)
    await listener.add_listener(outbox.SENT_CHANNEL, lambda *said: heard.put_nowait(said[-1]))
    async with relaying(database.url, Recorder()):
        await write(database, 1, 1)
        async with patience():
            assert await heard.get() == "test"
    assert len(await outbox.read(database)) == 1
    await listener.close()


async def test_periodics(database: Database) -> None:
    """Each periodic runs again and again, beside one that fails always."""
    runs: Counter[str] = Counter()
    enough = asyncio.Event()

    async def good() -> None:
        runs["good"] += 1
        if min(runs["good"], runs["bad"]) >= 3:
            enough.set()

    async def bad() -> None:
        runs["bad"] += 1
        raise LookupError("always")

    both = [relay.Periodic(each.__name__, 0.01, each) for each in (bad, good)]
    async with relaying(database.url, Recorder(), *both), patience():
        await enough.wait()


async def test_only_the_active_relay_runs_periodics(database: Database) -> None:
    """A relay that stands by reconciles nothing; it begins when it has taken over."""
    runs: list[str] = []
    began = asyncio.Event()

    async def work() -> None:
        runs.append("ran")
        began.set()

    async with patience():
        async with relaying(database.url, Recorder()):
            await asleep(database)
            task = asyncio.create_task(
                _stand_by(database.url, relay.Periodic("work", 0.01, work), began)
            )
            await asyncio.sleep(0.3)
            assert runs == []
        await task
    assert runs


async def _stand_by(url: str, periodic: relay.Periodic, began: asyncio.Event) -> None:
    async with relaying(url, Recorder(), periodic):
        await began.wait()


async def test_stopping_finishes_the_batch(database: Database) -> None:
    """A relay that is stopped while it publishes stamps what it has published."""
    publishing, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Recorder):
        async def publish(self, events: Sequence[Event]) -> None:
            publishing.set()
            await go_on.wait()
            await super().publish(events)

    stop = asyncio.Event()
    await write(database, 3, 1)
    task = asyncio.create_task(relay.run(database.url, Slow(), (), stop))
    await publishing.wait()
    stop.set()
    await asyncio.sleep(0.05)
    go_on.set()
    await task
    assert await positions(database) == [1, 2, 3]


@given(st.lists(st.integers(0, 5)))
def test_waves(subjects: list[int]) -> None:
    """Waves hold every row once, none twice of one subject, and each subject's rows in order."""
    rows: list[Any] = [{"id": n, "subject": subject} for n, subject in enumerate(subjects)]
    found = relay.waves(rows)
    assert all(len({row["subject"] for row in wave}) == len(wave) > 0 for wave in found)
    flat = [row for wave in found for row in wave]
    assert sorted(flat, key=lambda row: row["id"]) == rows
    assert all(
        [row["id"] for row in flat if row["subject"] == s]
        == [row["id"] for row in rows if row["subject"] == s]
        for s in set(subjects)
    )
    assert len(found) == max(Counter(subjects).values(), default=0)
