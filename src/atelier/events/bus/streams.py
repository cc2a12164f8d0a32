"""The event bus on a Redis stream, for an installation without RabbitMQ.

One stream, one consumer group per service.

Confirmed means written to the engine's append-only file; when that is forced to disk is its
`appendfsync`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from atelier.errors import Unavailable
from atelier.events.bus import (
    DEAD_LIMIT,
    DELIVERIES,
    NOTHING,
    PREFIX,
    RETRY_AFTER,
    Delivery,
    Seen,
    matches,
)
from atelier.events.messages import Event
from atelier.lua import Script
from atelier.queue.group import Entry, Group, Postponed
from atelier.queue.reader import TROUBLE, Reader
from atelier.retry import end, pause, retry

log = logging.getLogger("atelier.bus")

# Seconds without a heartbeat after which a service's event goes to its next one after a kill
LEASE = 10.0
READ_AHEAD = 64  # events
TRIES = 3
TRY_PAUSE = 0.2  # seconds between tries
# Seconds before an event that was given back comes again; doubles with each delivery
FIRST_PAUSE = 0.1
# Seconds that an event stays for services that come later, however many have acknowledged it
KEEP = 86_400
LIMIT = 500_000  # events (some 250 MB) that a service that stays away can make the stream hold
TRIM_EVERY = 60.0  # seconds
_NOTE = Script("atelier.events.bus", "note.lua")
_PUBLISH = Script("atelier.events.bus", "publish.lua")


class StreamsBus:
    """Events on the stream `<prefix>.events`.

    Dead letters of all services on `<prefix>.events:dead`.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        prefix: str = PREFIX,
        lease: float = LEASE,
        deliveries: int = DELIVERIES,
        keep: float = KEEP,
        limit: int = LIMIT,
        trim_every: float = TRIM_EVERY,
    ) -> None:
        self._redis = redis
        self._stream = f"{prefix}.events"
        self._dead = f"{self._stream}:dead"
        self._noted = f"{self._stream}:position"
        self._expected: int | None = None  # the position noted last; None before
        self._lease = lease
        self._deliveries = deliveries
        self._keep = keep
        self._limit = limit
        self._trim_every = trim_every
        self._next_trim = 0.0

    async def publish(self, events: Sequence[Event]) -> None:
        """Add all of them in one step, or none.

        None after a wipe that `confirmed` has not told of: what is lost goes first, so that every
        subject's events stay in order.
        """
        if not events:
            return
        try:
            added = await self._add([event.to_json() for event in events])
        except TROUBLE as error:
            raise _unavailable() from error
        if added is None:
            raise Unavailable("the event bus has lost events", retry_after=RETRY_AFTER)
        await self._trim_now_and_then()

    async def note(self, position: int) -> None:
        """Keep it beside the stream.

        What wipes the one or cuts the end off its file does so with the other.
        """
        try:
            await _NOTE(self._redis, (self._noted,), self._expected or 0, position)
        except TROUBLE as error:
            raise _unavailable() from error
        self._expected = position

    async def confirmed(self, position: int) -> int:
        """What was noted last; where nothing is there, zero is from now on."""
        try:
            noted = await self._redis.set(self._noted, 0, nx=True, get=True)
        except TROUBLE as error:
            raise _unavailable() from error
        self._expected = int(noted or 0)
        return NOTHING if noted is None else min(position, self._expected)

    async def declare(self, service: str, patterns: Sequence[str]) -> None:
        """Make the service's group."""
        try:
            await self._group(service).create()
        except TROUBLE as error:
            raise _unavailable() from error

    async def subscribe(
        self, service: str, patterns: Sequence[str], *, stop: asyncio.Event
    ) -> AsyncIterator[Delivery]:
        """Read the service's group; it begins with the oldest event there is."""
        subscription = _Subscription(
            self._redis, self._group(service), self._dead, patterns, self._deliveries
        )
        keep = asyncio.create_task(subscription.reader.keep())
        try:
            while not stop.is_set():
                for delivery in await subscription.take():
                    if stop.is_set():
                        break
                    if await subscription.is_new(delivery):
                        yield delivery
        finally:
            await end(keep)
            await subscription.reader.leave(refund=False)

    async def dead_letters(self, services: Iterable[str]) -> int:
        """Those of every service."""
        try:
            return int(await self._redis.xlen(self._dead))
        except TROUBLE as error:
            raise _unavailable() from error

    async def ping(self) -> None:
        """Ask whether the engine of the stream answers."""
        try:
            await self._redis.ping()
        except TROUBLE as error:
            raise _unavailable() from error

    async def close(self) -> None:
        """The connections belong to whoever made the client."""

    def _group(self, service: str) -> Group:
        return Group(self._redis, self._stream, service, self._lease, shared=True)

    @retry(TRIES, TRY_PAUSE, TROUBLE)
    async def _add(self, bodies: Sequence[bytes]) -> int | None:
        expected = "" if self._expected is None else self._expected
        added: int | None = await _PUBLISH(
            self._redis, (self._stream, self._noted), expected, *bodies
        )
        return added

    async def _trim_now_and_then(self) -> None:
        if time.monotonic() >= self._next_trim:
            self._next_trim = time.monotonic() + self._trim_every
            with suppress(RedisError, OSError):
                await self._trim()

    async def _trim(self) -> None:
        """Drop what is old and acknowledged by every service.

        Beyond the limit, whatever is oldest.
        """
        seconds, microseconds = await self._redis.time()
        young = round((seconds + microseconds / 1e6 - self._keep) * 1000)
        groups: list[dict[str, Any]] = await self._redis.xinfo_groups(self._stream)
        floors = [await self._floor(group) for group in groups]
        oldest = min([(young, 0), *floors])
        await self._redis.xtrim(self._stream, minid="{}-{}".format(*oldest), approximate=True)
        cut = await self._redis.xtrim(self._stream, maxlen=self._limit, approximate=True)
        if cut:
            log.warning(
                "the event stream was full: its %d oldest events are gone before their time", cut
            )

    async def _floor(self, group: dict[str, Any]) -> tuple[int, int]:
        """The first entry that the group may still ask for."""
        summary = await self._redis.xpending(self._stream, group["name"])
        return _order(summary["min"] or group["last-delivered-id"])


class _Subscription:
    """One process's share of a service's events."""

    def __init__(
        self, redis: Redis, group: Group, dead: str, patterns: Sequence[str], deliveries: int
    ) -> None:
        consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.reader = Reader(group, consumer, READ_AHEAD)
        self._redis = redis
        self._group = group
        self._dead = dead
        self._patterns = patterns
        self._limit = deliveries
        self._seen = Seen()

    async def take(self) -> list[Delivery]:
        """The next events to deliver; those that are not for the service are acknowledged."""
        wanted, done = [], []
        for entry in await self.reader.take():
            event = await self._read(entry)
            if event is None:
                continue
            if matches(self._patterns, event.type):
                wanted.append(self._delivery(entry, event))
            else:
                done.append(entry.id)
        if done:
            with suppress(Unavailable):
                await self._finish(done)
        return wanted

    async def is_new(self, delivery: Delivery) -> bool:
        """Whether the event was not acknowledged before; if it was, it is again."""
        if delivery.event.id not in self._seen:
            return True
        with suppress(Unavailable):
            await delivery.ack()
        return False

    async def _read(self, entry: Entry) -> Event | None:
        """The entry's event, unless it is given up."""
        if entry.deliveries > self._limit:
            await self._bury(entry, f"delivered {entry.deliveries - 1} times")
            return None
        try:
            return Event.from_json(entry.body)
        except msgspec.DecodeError as error:
            await self._bury(entry, f"malformed: {error}")
            return None

    async def _bury(self, entry: Entry, reason: str) -> None:
        log.error("event %s is a dead letter of %s: %s", entry.id, self._group.name, reason)
        self.reader.held.discard(entry.id)
        with suppress(RedisError, OSError):
            await self._group.bury(entry, self._dead, f"{self._group.name}: {reason}", DEAD_LIMIT)

    def _delivery(self, entry: Entry, event: Event) -> Delivery:
        async def ack() -> None:
            self._seen.add(event.id)
            await self._finish([entry.id])

        async def nack() -> None:
            delay = pause(entry.deliveries, FIRST_PAUSE, self._group.lease)
            await self.reader.put_off([Postponed(entry.id, delay, entry.deliveries)])

        return Delivery(event, ack, nack)

    async def _finish(self, ids: list[str]) -> None:
        self.reader.held.difference_update(ids)
        try:
            await self._group.finish(ids)
        except TROUBLE as error:
            raise _unavailable() from error


def _unavailable() -> Unavailable:
    return Unavailable("the event bus does not answer", retry_after=RETRY_AFTER)


def _order(entry: bytes | str) -> tuple[int, int]:
    """A stream id as numbers, which order as the stream does."""
    text = entry.decode() if isinstance(entry, bytes) else entry
    milliseconds, _, sequence = text.partition("-")
    return int(milliseconds), int(sequence)
