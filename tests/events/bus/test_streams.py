"""Only for the bus on Redis Streams: its stream stays short, loses nothing, outlives a wipe."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from atelier.events.bus import NOTHING
from atelier.events.bus.streams import StreamsBus
from tests.events.bus.support import event, take
from tests.waiting import patience

if TYPE_CHECKING:
    from redis.asyncio import Redis

STREAM = "atelier.events"
MANY = 500  # several of the stream's nodes of 100 entries: it is cut by whole nodes
DAY = 86_400.0


def bus_of(redis: Redis, *, keep: float = 0, limit: int = 100_000) -> StreamsBus:
    return StreamsBus(redis, keep=keep, limit=limit, trim_every=0)


async def test_what_every_service_has_acknowledged_is_trimmed(redis: Redis) -> None:
    """Events stay while one service has not acknowledged them, and go when all have."""
    bus = bus_of(redis)
    await bus.declare("one", ["#"])
    await bus.declare("two", ["#"])
    await bus.publish([event(number=number) for number in range(MANY)])
    await take(bus, MANY, "one")
    await bus.publish([event()])
    assert await redis.xlen(STREAM) == MANY + 1
    assert [each.sequence for each in await take(bus, MANY, "two")] == list(range(MANY))
    await bus.publish([event()])
    assert await redis.xlen(STREAM) <= 200


async def test_an_event_that_is_held_is_not_trimmed(redis: Redis) -> None:
    """A delivered but unacknowledged event holds back the trimming of what follows it."""
    bus = bus_of(redis)
    await bus.declare("one", ["#"])
    await bus.publish([event(number=number) for number in range(MANY)])
    stop, count = asyncio.Event(), 0
    async with patience():
        async for delivery in bus.subscribe("one", ["#"], stop=stop):
            count += 1
            if count > 1:
                await delivery.ack()
            if count == MANY:
                await bus.publish([event()])
                assert await redis.xlen(STREAM) == MANY + 1
                stop.set()


async def test_young_events_stay_for_services_to_come(redis: Redis) -> None:
    """Within the retention a new service finds events that all others have acknowledged."""
    bus = bus_of(redis, keep=DAY)
    await bus.declare("one", ["#"])
    await bus.publish([event(number=number) for number in range(MANY)])
    await take(bus, MANY, "one")
    await bus.publish([event(number=MANY)])
    assert [each.sequence for each in await take(bus, MANY + 1, "late")] == list(range(MANY + 1))


async def test_a_service_that_stays_away_cannot_fill_the_memory(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Above the limit the oldest events are dropped even if unacknowledged, and it is logged."""
    bus = bus_of(redis, limit=200)
    await bus.declare("gone", ["#"])
    await bus.publish([event(number=number) for number in range(MANY)])
    assert 200 <= await redis.xlen(STREAM) <= 300
    assert "gone before their time" in caplog.text


@pytest.mark.parametrize("wipe", ["FLUSHDB", f"XGROUP DESTROY {STREAM} one"])
async def test_a_subscription_outlives_a_wiped_engine(redis: Redis, wipe: str) -> None:
    """After the stream or the group is gone, the same subscription receives the next event."""
    bus = bus_of(redis, keep=DAY)
    first, second = event(number=1), event(number=2)
    stop, taken = asyncio.Event(), []

    async def serve() -> None:
        async for delivery in bus.subscribe("one", ["#"], stop=stop):
            await delivery.ack()
            taken.append(delivery.event)

    async with patience(), asyncio.TaskGroup() as tasks:
        tasks.create_task(serve())
        await bus.publish([first])
        while first not in taken:
            await asyncio.sleep(0.01)
        await redis.execute_command(*wipe.split())
        await bus.publish([second])
        while second not in taken:
            await asyncio.sleep(0.01)
        stop.set()
    assert taken == [first, second]


async def test_a_killed_subscriber_s_events_go_to_the_next(redis: Redis) -> None:
    """Events that a process held when it died come to another after the lease."""
    bus = StreamsBus(redis, lease=0.3)
    await bus.declare("one", ["#"])
    sent = event()
    await bus.publish([sent])
    await redis.xreadgroup("one", "dead-process", {STREAM: ">"}, count=1)
    assert await take(bus, 1) == [sent]


@pytest.mark.parametrize(("noted", "asked", "answer"), [(None, 7, 0), (5, 7, 5), (9, 7, 7)])
async def test_the_bus_knows_how_much_it_still_has(
    redis: Redis, noted: int | None, asked: int, answer: int
) -> None:
    """A fresh or wiped stream has nothing.

    Else it has what was noted, and never more than was confirmed.
    """
    bus = bus_of(redis)
    assert await bus.confirmed(asked) == NOTHING
    if noted is not None:
        await bus.note(noted)
    assert await bus.confirmed(asked) == answer
    await redis.flushdb()
    assert await bus.confirmed(asked) == NOTHING


async def test_a_wipe_before_the_note_is_noticed(redis: Redis) -> None:
    """Events that were published before a wipe and noted after it count as lost.

    So do those of a refill.
    """
    bus = bus_of(redis)
    await bus.confirmed(0)
    await bus.note(5)
    await redis.flushdb()
    await bus.note(6)
    assert await bus.confirmed(6) == NOTHING
    await redis.flushdb()
    await bus.note(6)
    assert await bus.confirmed(6) == NOTHING
    await bus.note(6)
    assert await bus.confirmed(6) == 6
