"""A queue as its callers see it: send, consume, inspect, and resend or purge dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, RedisError

from atelier.errors import Unavailable
from atelier.lua import Argument, Script
from atelier.queue import scripts
from atelier.queue.consumer import BatchHandler, Consumer, Job, OnDead, Terms
from atelier.queue.group import Group, is_lost

GROUP = "workers"
RETRY_AFTER = 5  # seconds; a full queue of pictures moves by hundreds in that time


class QueueFull(Unavailable):
    """The queue holds as many jobs as it may."""

    slug = "queue-full"


class DeadLetter(NamedTuple):
    """A job that was given up.

    Its own id, the reason, the number of deliveries, and the size of its body in bytes.
    """

    id: str
    reason: str
    deliveries: int
    size: int
    sent_at: datetime
    died_at: datetime


class Queue:
    """The queue `name`: at most `limit` outstanding jobs, each delivered at most `attempts` times.

    A consumer without a heartbeat for `lease` seconds loses its jobs to others. A failed job comes
    again after `backoff` seconds, doubling up to a lease. `dead_limit` dead letters are kept.
    Every method but `consume` and `consume_batches` raises Unavailable when the engine does not
    answer.
    """

    def __init__(
        self,
        redis: Redis,
        name: str,
        *,
        limit: int,
        attempts: int,
        lease: float = 30.0,
        backoff: float = 1.0,
        dead_limit: int = 1000,
    ) -> None:
        if min(limit, attempts, dead_limit) < 1 or lease <= 0 or backoff <= 0:
            raise ValueError("limit, attempts, lease, backoff and dead_limit must be positive")
        self._redis = redis
        self.name = name
        self._dead_name = f"{name}:dead"
        self._limit = limit
        self._attempts = attempts
        self._lease = lease
        self._backoff = backoff
        self._dead_limit = dead_limit

    async def send(self, body: bytes) -> str:
        """Add a job; return its id. Raises QueueFull."""
        return (await self.send_many([body]))[0]

    async def send_many(self, bodies: Sequence[bytes]) -> list[str]:
        """Add all these jobs or none; return their ids.

        Raises QueueFull when there is no room for all.
        """
        if not bodies:
            return []
        ids = await self._call(scripts.SEND, (self.name,), self._limit, *bodies)
        if ids is None:
            raise self._full()
        return [entry.decode() for entry in ids]

    async def send_shared(
        self, body: bytes, bulk: Queue, counter: str, *, share: int, seconds: int
    ) -> str:
        """Add a job here, or to `bulk` once `counter` has counted `share` in so many seconds.

        Return its id. Raises QueueFull.
        """
        keys = (self.name, bulk.name, counter)
        entry = await self._call(scripts.SEND_SHARED, keys, self._limit, share, seconds, body)
        if entry is None:
            raise self._full()
        return str(entry.decode())

    async def depth(self) -> int:
        """Count the outstanding jobs: waiting, running or put off."""
        try:
            return int(await self._redis.xlen(self.name))
        except (RedisError, OSError) as error:
            raise self._unavailable() from error

    async def pending(self) -> int:
        """Count the jobs that consumers have taken, or put off, and not done."""
        try:
            found: Any = await self._redis.xpending(self.name, GROUP)
        except (RedisError, OSError) as error:
            if is_lost(error):
                return 0
            raise self._unavailable() from error
        return int(found["pending"])

    async def dead_letters(self) -> int:
        """Count the dead letters that are kept."""
        try:
            return int(await self._redis.xlen(self._dead_name))
        except (RedisError, OSError) as error:
            raise self._unavailable() from error

    async def oldest_time(self) -> datetime | None:
        """Return the time at which the oldest outstanding job was sent, by the engine's clock."""
        first, _ = await self._call(scripts.OLDEST, (self.name,))
        return None if first is None else sent_time(first.decode())

    async def oldest(self) -> float:
        """Return the age in seconds of the oldest outstanding job; 0 when there is none."""
        first, (seconds, microseconds) = await self._call(scripts.OLDEST, (self.name,))
        if first is None:
            return 0.0
        return max(
            0.0, int(seconds) + int(microseconds) / 1e6 - sent_time(first.decode()).timestamp()
        )

    async def consume(
        self,
        handler: Callable[[Job], Awaitable[None]],
        *,
        consumer: str,
        stop: asyncio.Event,
        batch: int = 1,
        concurrency: int = 1,
        on_dead: OnDead | None = None,
    ) -> None:
        """Run `handler` on each job until `stop`, `concurrency` at once, reading `batch` ahead.

        `consumer` is unique among the living; a restarted process with its old name gets its old
        jobs back at once. A job is acknowledged when the handler returns. Reject makes it a dead
        letter at once; Unavailable puts it off and does not count as an attempt; any other error
        does. `on_dead(job, reason)` is awaited before a job is given up.
        """

        async def each(jobs: list[Job]) -> None:
            await handler(jobs[0])

        await self._consumer(each, consumer, (batch, 1, concurrency), on_dead).run(stop)

    async def consume_batches(
        self,
        handler: BatchHandler,
        *,
        consumer: str,
        stop: asyncio.Event,
        batch: int = 16,
        concurrency: int = 1,
        on_dead: OnDead | None = None,
    ) -> None:
        """Do the same with up to `batch` jobs in one call.

        When the call fails, `handler` is called for each job alone.
        """
        await self._consumer(handler, consumer, (batch, batch, concurrency), on_dead).run(stop)

    async def dead(self, limit: int) -> list[DeadLetter]:
        """Return the newest dead letters."""
        return [
            _letter(found) for found in await self._call(scripts.DEAD, (self._dead_name,), limit)
        ]

    async def resend(self, letter: str) -> bool:
        """Send the dead letter with this id again; False when there is none. Raises QueueFull."""
        sent = await self._call(scripts.RESEND, (self.name, self._dead_name), self._limit, letter)
        if sent is None:
            raise self._full()
        return bool(sent)

    async def resend_all(self) -> int:
        """Send every dead letter again, the oldest first; return how many.

        Raises QueueFull when the rest has no room.
        """
        letters = await self.dead(self._dead_limit)
        return sum([await self.resend(letter.id) for letter in reversed(letters)])

    async def purge(self) -> int:
        """Delete all dead letters; return how many."""
        return int(await self._call(scripts.PURGE, (self._dead_name,)))

    def _consumer(
        self,
        handler: BatchHandler,
        consumer: str,
        sizes: tuple[int, int, int],
        on_dead: OnDead | None,
    ) -> Consumer:
        read_ahead, at_once, concurrency = sizes
        if min(read_ahead, concurrency) < 1 or consumer in {"", scripts.WAITING}:
            raise ValueError(
                f"batch and concurrency must be positive, and a consumer's name not {consumer!r}"
            )
        group = Group(self._redis, self.name, GROUP, self._lease)
        terms = Terms(
            consumer=consumer,
            read_ahead=read_ahead,
            at_once=at_once,
            concurrency=concurrency,
            attempts=self._attempts,
            backoff=self._backoff,
            dead=self._dead_name,
            dead_limit=self._dead_limit,
        )
        return Consumer(group, terms, handler, on_dead)

    async def _call(self, script: Script, keys: tuple[str, ...], *args: Argument) -> Any:
        try:
            return await script(self._redis, keys, *args)
        except OutOfMemoryError as error:
            raise self._full() from error
        except (RedisError, OSError) as error:
            raise self._unavailable() from error

    def _full(self) -> QueueFull:
        return QueueFull(f"The queue {self.name!r} is full.", retry_after=RETRY_AFTER)

    def _unavailable(self) -> Unavailable:
        return Unavailable(f"The queue {self.name!r} does not answer.", retry_after=RETRY_AFTER)


def sent_time(entry: str) -> datetime:
    """Return the time at which an entry was added, which its id tells to the millisecond."""
    return datetime.fromtimestamp(int(entry.partition("-")[0]) / 1000, UTC)


def _letter(found: list[Any]) -> DeadLetter:
    entry, size, reason, deliveries, sent = found
    return DeadLetter(
        id=entry.decode(),
        reason=reason.decode(errors="replace"),
        deliveries=int(deliveries),
        size=size,
        sent_at=sent_time(sent.decode()),
        died_at=sent_time(entry.decode()),
    )
