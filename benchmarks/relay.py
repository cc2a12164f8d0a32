"""The relay side by side with its floor, the bus alone: events per second and CPU per event.

Prints Markdown.

Each round fills the outbox, times the relay from the first event to the last stamp, and publishes
as many events to the same bus without any database. Engines are started for the run, PostgreSQL
with fsync. Then the writers' side: commits per second of 32 writers that wake the relay as they
do, and by a NOTIFY in each transaction.

    python -m benchmarks.relay [--events 20000] [--rounds 3] [--log 1000000] [--amqp amqp://...]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import asyncpg
import uvloop
from redis.asyncio import Redis

from atelier.database import Base, Database
from atelier.events import outbox, relay
from atelier.events.bus import Bus
from atelier.events.bus.rabbitmq import RabbitBus
from atelier.events.bus.streams import StreamsBus
from atelier.events.messages import Event, new_event_id, utcnow
from atelier.up.engines import start_postgres, start_valkey

PREFIX = "bench"
SUBJECTS = 500
WRITERS = 32
WRITING_SECONDS = 3
DATA = {
    "id": 1,
    "title": "Waterfall",
    "tags": ["a", "b"],
    "size": 123456,
    "status": "queued",
    "sha256": "0" * 64,
}
FILL = f"""
    {outbox.INSERT}
    SELECT 'image.created', 'images/' || n % {SUBJECTS}, $2 + n / {SUBJECTS}, $3::jsonb,
        1, 'users/1'
    FROM generate_series(0, $1::int - 1) AS n ORDER BY n
"""
HISTORY = f"""
    INSERT INTO outbox (type, subject, sequence, data, position, sent_at)
    SELECT 'image.created', 'history/' || n % {SUBJECTS}, n, $2::jsonb, n, clock_timestamp()
    FROM generate_series(1, $1::int) AS n
"""
NOTIFYING = """
    CREATE OR REPLACE FUNCTION outbox_wake_relay() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_notify('outbox', ''); RETURN NULL; END $$
"""


class Figure(NamedTuple):
    """Events per second, and CPU microseconds of this process per event."""

    rate: float
    cpu: float


class Meter:
    """Wall and CPU time from its making."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def figure(self, events: int) -> Figure:
        """Up to now."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return Figure(events / wall, cpu / events * 1e6)


class Outbox:
    """The database of the run."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        self._sequence = 1
        self._sent = 0

    async def make(self, history: int) -> None:
        """The tables, with a log of events sent before; not analysed, as a busy one may be."""
        async with self.database.engine.begin() as connection:
            tables = [Base.metadata.tables[name] for name in ("outbox", "relay_position")]
            await connection.run_sync(Base.metadata.create_all, tables=tables)
        await self._execute(HISTORY, history, _json(DATA))
        await self._execute("INSERT INTO relay_position (position) VALUES ($1)", history)
        self._sent = history

    async def fill(self, events: int) -> None:
        """Unsent events."""
        await self._execute(FILL, events, self._sequence, _json(DATA))
        self._sequence += events
        self._sent += events

    async def wait(self, relaying: asyncio.Task[None]) -> None:
        """Until all are sent, or the relay has failed."""
        while not relaying.done() and (await outbox.bounds(self.database)).last < self._sent:
            await asyncio.sleep(0.01)

    async def _execute(self, query: str, *args: object) -> None:
        connection = await asyncpg.connect(self.database.url)
        await connection.execute(query, *args)
        await connection.close()


def _json(value: object) -> str:
    return Event("", "", "", 1, utcnow(), {"data": value}).to_json().decode()


async def relayed(box: Outbox, bus: Bus, events: int) -> Figure:
    """The relay's figure."""
    await bus.note((await outbox.bounds(box.database)).last)
    await box.fill(events)
    stop = asyncio.Event()
    meter = Meter()
    task = asyncio.create_task(relay.run(box.database.url, bus, (), stop))
    await box.wait(task)
    figure = meter.figure(events)
    stop.set()
    await task
    return figure


async def alone(bus: Bus, events: int) -> Figure:
    """The floor: the same events in batches of the same size, neither read nor stamped."""
    facts = [
        Event(new_event_id(), "image.created", f"images/{n}", 1, utcnow(), DATA)
        for n in range(relay.BATCH)
    ]
    meter = Meter()
    for start in range(0, events, relay.BATCH):
        await bus.publish(facts[: min(relay.BATCH, events - start)])
    return meter.figure(events)


async def written(box: Outbox, bus: Bus) -> float:
    """Commits per second of writers beside an active relay."""
    await bus.note((await outbox.bounds(box.database)).last)
    stop, done, first = asyncio.Event(), 0, time.monotonic_ns()
    statement = f"{outbox.INSERT} VALUES ('image.created', $1, 1, '{{}}', 1, 'users/1')"
    task = asyncio.create_task(relay.run(box.database.url, bus, (), stop))

    async def writer(name: int) -> None:
        nonlocal done
        connection = await asyncpg.connect(box.database.url)
        end, number = time.monotonic() + WRITING_SECONDS, 0
        while time.monotonic() < end:
            number += 1
            await connection.execute(statement, f"writers/{first}/{name}/{number}")
            done += 1
        await connection.close()

    await asyncio.gather(*(writer(name) for name in range(WRITERS)))
    stop.set()
    await task
    return done / WRITING_SECONDS


async def compare(box: Outbox, name: str, bus: Bus, options: argparse.Namespace) -> None:
    """One bus's lines of the table."""
    relays, floors = [], []
    for _ in range(options.rounds):
        relays.append(await relayed(box, bus, options.events))
        floors.append(await alone(bus, options.events))
    for label, figures in (("relay", relays), ("floor: the bus alone", floors)):
        rate, cpu = (statistics.median(values) for values in zip(*figures, strict=True))
        print(f"| {name} | {label} | {rate:,.0f} | {cpu:.0f} |")


async def run(options: argparse.Namespace, postgres: str, valkey: str) -> None:
    """Everything."""
    box = Outbox(postgres)
    await box.make(options.log)
    print(
        f"{options.events:,} events of {SUBJECTS} subjects behind a log of {options.log:,}; "
        f"{options.rounds} rounds\n"
    )
    print("| bus | | events/s | CPU us/event |\n|---|---|---|---|")
    async with Redis.from_url(valkey) as redis:
        streams = StreamsBus(redis, prefix=PREFIX)
        await streams.declare("listener", ["#"])
        await compare(box, "Redis Streams", streams, options)
        if options.amqp:
            rabbit = RabbitBus(options.amqp, prefix=PREFIX)
            await rabbit.declare("listener", ["#"])
            await compare(box, "RabbitMQ, one quorum queue", rabbit, options)
            await rabbit.close()
        print(f"\n| {WRITERS} writers, one event each | commits/s |\n|---|---|")
        print(f"| waking a sleeping relay only | {await written(box, streams):,.0f} |")
        await box.database.fetch(NOTIFYING)
        print(f"| a NOTIFY in each transaction | {await written(box, streams):,.0f} |")
    await box.database.close()


async def clear(amqp: str) -> None:
    """Remove what the run left on a broker that others use."""
    import aio_pika

    async with await aio_pika.connect(amqp) as connection:
        channel = await connection.channel()
        for queue in (f"{PREFIX}.listener", f"{PREFIX}.listener.dead"):
            await channel.queue_delete(queue)
        await channel.exchange_delete(f"{PREFIX}.events")


def main() -> None:
    """Start the engines, measure, stop them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--log", type=int, default=100_000, help="events sent before")
    parser.add_argument("--amqp", help="measure RabbitMQ as well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="atelier-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # when root measures PostgreSQL is another user
        engines = [start_postgres(folder / "postgres"), start_valkey(folder / "valkey")]
        try:
            uvloop.run(run(options, *(engine.url for engine in engines)))
        finally:
            for engine in engines:
                engine.halt()
            if options.amqp:
                asyncio.run(clear(options.amqp))


if __name__ == "__main__":
    main()
