"""Two queues side by side: each sender has a share of the first."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from atelier.errors import Unavailable
from atelier.queue import Lanes, Queue, QueueFull

SECONDS = 3_600


@pytest.fixture
def lanes(redis: Redis) -> Lanes:
    """Three jobs of each sender go to the first, and each queue has room for six."""
    first, bulk = (Queue(redis, name, limit=6, attempts=3) for name in ("jobs", "bulk"))
    return Lanes(first, bulk, share=3, seconds=SECONDS)


async def depths(lanes: Lanes) -> list[int]:
    """The jobs of each."""
    return [await queue.depth() for queue in lanes.queues]


async def test_what_is_beyond_a_share_goes_to_the_second_queue(lanes: Lanes) -> None:
    """Whoever else sends has a share of their own."""
    for number in range(5):
        await lanes.send(1, b"%d" % number)
    assert await depths(lanes) == [3, 2]
    await lanes.send(2, b"another's")
    assert await depths(lanes) == [4, 2]
    assert await lanes.depth() == 6


async def test_a_share_is_for_a_time(lanes: Lanes, redis: Redis) -> None:
    """The count begins with the first job, ends with its period, and may be lost."""
    for number in range(4):
        await lanes.send(1, b"%d" % number)
    (counter,) = await redis.keys("*:sent:*")
    assert 0 < await redis.ttl(counter) <= SECONDS
    await redis.delete(counter)
    await lanes.send(1, b"of the next period")
    assert await depths(lanes) == [4, 1]


async def test_a_full_queue_is_full_for_who_would_use_it(lanes: Lanes) -> None:
    """Nobody takes the other one instead."""
    for number in range(9):
        await lanes.send(1, b"%d" % number)
    with pytest.raises(QueueFull):
        await lanes.send(1, b"one more")
    await lanes.send(2, b"another's")
    assert await depths(lanes) == [4, 6]


async def test_without_an_engine_nothing_is_sent() -> None:
    """It is told as by a queue alone."""
    nowhere = Redis(host="127.0.0.1", port=1)  # connections are refused
    first, bulk = (Queue(nowhere, name, limit=6, attempts=3) for name in ("jobs", "bulk"))
    with pytest.raises(Unavailable):
        await Lanes(first, bulk).send(1, b"")
    await nowhere.aclose()
