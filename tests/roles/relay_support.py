"""Buses, relays and logs for the tests of the relay."""

from __future__ import annotations

import asyncio
import random
import secrets
import subprocess
import sys
from collections import defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis

from atelier.database import Database
from atelier.errors import Unavailable
from atelier.events import outbox, relay
from atelier.events.bus.rabbitmq import RabbitBus, connect
from atelier.events.bus.streams import StreamsBus
from tests.waiting import PATIENCE_SECONDS, patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from atelier.events.bus import Bus
    from atelier.events.messages import Event

SERVICE = "listener"
# A relay as a process of its own: argv holds the database's URL, the kind of bus, its URL and
# prefix.
RELAY = """
import asyncio, logging, sys
from redis.asyncio import Redis
from atelier.events.bus.rabbitmq import RabbitBus
from atelier.events.bus.streams import StreamsBus
from atelier.events import relay

logging.basicConfig(level=logging.INFO, stream=sys.stdout)

async def main(database_url, kind, url, prefix):
    if kind == "rabbitmq":
        bus = RabbitBus(url, prefix=prefix)
    else:
        bus = StreamsBus(Redis.from_url(url), prefix=prefix)
    await relay.run(database_url, bus, (), asyncio.Event())

asyncio.run(main(*sys.argv[1:]))
"""


class Place:
    """A bus of a kind at a URL, of which tests make as many as they need."""

    def __init__(self, kind: str, url: str) -> None:
        self.kind, self.url = kind, url
        self.prefix = f"test-{secrets.token_hex(6)}"

    @asynccontextmanager
    async def bus(self) -> AsyncIterator[Bus]:
        """A client."""
        if self.kind == "rabbitmq":
            rabbit = RabbitBus(self.url, prefix=self.prefix)
            yield rabbit
            await rabbit.close()
            return
        async with Redis.from_url(self.url) as redis:
            yield StreamsBus(redis, prefix=self.prefix)

    async def clear(self) -> None:
        """Leave nothing behind on a server that others share."""
        if self.kind == "rabbitmq":
            async with await connect(self.url, PATIENCE_SECONDS) as connection:
                channel = await connection.channel()
                for queue in (SERVICE, f"{SERVICE}.dead", "mark"):
                    await channel.queue_delete(f"{self.prefix}.{queue}")
                for exchange in (f"{self.prefix}.events", f"{self.prefix}.dead"):
                    await channel.exchange_delete(exchange)


class Recorder:
    """A bus that keeps what it is given, and fails where a test wants it to."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.batches: list[list[Event]] = []

    async def publish(self, events: Sequence[Event]) -> None:
        """Keep them all."""
        self.batches.append(list(events))
        self.events += events

    async def declare(self, service: str, patterns: Sequence[str]) -> None:
        """It keeps everything."""

    async def note(self, position: int) -> None:
        """It forgets nothing."""

    async def confirmed(self, position: int) -> int:
        """All of it."""
        return position

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the relay has no business with {name}")


class Refusing(Recorder):
    """A bus that often publishes only some events of a batch and then reports failure."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._chance = random.Random(seed)

    async def publish(self, events: Sequence[Event]) -> None:
        """Keep all, or any."""
        if self._chance.random() < 0.5:
            await super().publish([event for event in events if self._chance.random() < 0.5])
            raise Unavailable("try again")
        await super().publish(events)


async def write(database: Database, subjects: int, rounds: int, first: int = 1) -> None:
    """Events of many subjects, one transaction for each round."""
    for sequence in range(first, first + rounds):
        await database.fetch(
            f"{outbox.INSERT} SELECT 'test.event', 'subjects/' || n, $2::int, "
            "jsonb_build_object('n', n), NULL, NULL "
            "FROM generate_series(1, $1::int) AS n ORDER BY n",
            subjects,
            sequence,
        )


@asynccontextmanager
async def relaying(
    database_url: str, bus: Any, *periodics: relay.Periodic
) -> AsyncIterator[asyncio.Task[None]]:
    """A relay in this process, stopped in order at the end."""
    stop = asyncio.Event()
    task = asyncio.create_task(relay.run(database_url, bus, periodics, stop))
    try:
        yield task
    finally:
        stop.set()
        async with patience():
            await task


def start_relay(database: Database, place: Place) -> subprocess.Popen[bytes]:
    """A relay as a process of its own."""
    arguments = [database.url, place.kind, place.url, place.prefix]
    return subprocess.Popen(
        [sys.executable, "-c", RELAY, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


async def all_sent(database: Database) -> None:
    """Return when nothing is unsent."""
    async with patience():
        while await database.fetch("SELECT FROM outbox WHERE position IS NULL LIMIT 1"):
            await asyncio.sleep(0.02)


async def some_sent(database: Database, count: int) -> None:
    """Return when at least `count` are sent."""
    async with patience():
        while len(await database.fetch("SELECT FROM outbox WHERE position IS NOT NULL")) < count:
            await asyncio.sleep(0.002)


async def positions(database: Database) -> list[int]:
    """The log's positions, in order."""
    return [
        row["position"]
        for row in await database.fetch("SELECT position FROM outbox ORDER BY position")
    ]


async def received(place: Place, count: int) -> list[Event]:
    """The service's events, each once, until there are `count`."""
    found: dict[str, Event] = {}
    stop = asyncio.Event()
    async with place.bus() as bus, patience():
        async for delivery in bus.subscribe(SERVICE, ["#"], stop=stop):
            found.setdefault(delivery.event.id, delivery.event)
            await delivery.ack()
            if len(found) == count:
                stop.set()
    return list(found.values())


def assert_in_order(events: Sequence[Event], subjects: int, rounds: int) -> None:
    """Every subject's first occurrences are there and count from 1."""
    sequences: dict[str, list[int]] = defaultdict(list)
    seen: set[str] = set()
    for event in events:
        if event.id not in seen:
            seen.add(event.id)
            sequences[event.subject].append(event.sequence)
    assert len(sequences) == subjects
    assert all(found == list(range(1, rounds + 1)) for found in sequences.values())
