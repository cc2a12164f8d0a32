"""Events per second and CPU per event through each event bus, confirmed and acknowledged.

    python -m benchmarks.event_bus [ROUNDS]

RabbitMQ is the one that ATELIER_TEST_AMQP_URL names, or the usual local one; without one, its
lines are left out.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import aio_pika
from redis.asyncio import Redis

from atelier.errors import Unavailable
from atelier.events.bus import Bus
from atelier.events.bus.rabbitmq import RabbitBus
from atelier.events.bus.streams import StreamsBus
from atelier.events.messages import Event, new_event_id
from atelier.up.engines import start_valkey

AMQP_DEFAULT = "amqp://guest:guest@127.0.0.1:5672/"
EVENTS = 5_120
PUBLISHED_AT_ONCE = (1, 64, 256)  # the relay publishes up to 256
ONE_BY_ONE = 512  # events of the slowest case

Rows = dict[str, list[tuple[float, float]]]


def event(number: int) -> Event:
    """An event as long as most."""
    data = {
        "id": number,
        "title": "A picture of some length",
        "status": "ready",
        "version": 1,
        "owner_id": 7,
    }
    return Event(new_event_id(), "image.processed", f"images/{number}", 1, datetime.now(UTC), data)


async def timed(work: Awaitable[None], count: int) -> tuple[float, float]:
    """Events per second and CPU microseconds per event."""
    wall, cpu = time.perf_counter(), time.process_time()
    await work
    return count / (time.perf_counter() - wall), (time.process_time() - cpu) / count * 1e6


async def publish(bus: Bus, events: list[Event], at_once: int) -> None:
    """All events, so many in each call."""
    for start in range(0, len(events), at_once):
        await bus.publish(events[start : start + at_once])


async def take(bus: Bus, count: int) -> None:
    """So many events, acknowledged one by one."""
    stop, taken = asyncio.Event(), 0
    async for delivery in bus.subscribe("bench", ["image.*"], stop=stop):
        await delivery.ack()
        taken += 1
        if taken == count:
            stop.set()


async def measure(name: str, bus: Bus, rows: Rows) -> None:
    """One round over one bus."""
    await bus.declare("bench", ["image.*"])
    for at_once in PUBLISHED_AT_ONCE:
        events = [event(number) for number in range(ONE_BY_ONE if at_once == 1 else EVENTS)]
        rows[f"{name}: publish, {at_once} at once"].append(
            await timed(publish(bus, events, at_once), len(events))
        )
    total = ONE_BY_ONE + EVENTS * (len(PUBLISHED_AT_ONCE) - 1)
    rows[f"{name}: take and acknowledge"].append(await timed(take(bus, total), total))


@asynccontextmanager
async def streams() -> AsyncIterator[Bus]:
    """On an engine of its own."""
    with tempfile.TemporaryDirectory() as folder:
        engine = start_valkey(Path(folder) / "valkey")
        try:
            async with Redis.from_url(engine.url) as redis:
                yield StreamsBus(redis)
        finally:
            engine.halt()


@asynccontextmanager
async def rabbitmq() -> AsyncIterator[Bus]:
    """Under names of its own, removed at the end."""
    url, prefix = (
        os.environ.get("ATELIER_TEST_AMQP_URL", AMQP_DEFAULT),
        f"bench-{secrets.token_hex(4)}",
    )
    bus = RabbitBus(url, prefix=prefix)
    await bus.ping()
    try:
        yield bus
    finally:
        await bus.close()
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel()
            for name in (f"{prefix}.bench", f"{prefix}.bench.dead"):
                await channel.queue_delete(name)
            await channel.exchange_delete(f"{prefix}.events")


async def main(rounds: int) -> None:
    """Measure and print a table."""
    rows: Rows = defaultdict(list)
    for _ in range(rounds):
        async with streams() as bus:
            await measure("Redis Streams", bus, rows)
        with suppress(Unavailable):
            async with rabbitmq() as bus:
                await measure("RabbitMQ", bus, rows)
    print("| bus | events/s | CPU us per event |\n|---|---|---|")
    for name, figures in rows.items():
        rate, cpu = (statistics.median(column) for column in zip(*figures, strict=True))
        print(f"| {name} | {rate:,.0f} | {cpu:.0f} |")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3))
