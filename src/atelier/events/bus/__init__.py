"""The port of the event bus: confirmed publishing, at-least-once delivery to each service.

Knows the envelope of events and nothing else. Patterns are AMQP's: words between dots, `*` for one
word, `#` for any number of them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from atelier.events.messages import Event

PREFIX = "atelier"
# Deliveries of one event to one service before it is a dead letter; a service restart costs one.
DELIVERIES = 20
DEAD_LIMIT = 10_000  # dead letters kept
SEEN_LIMIT = 10_000  # event ids remembered by a subscription
RETRY_AFTER = 5  # seconds
NOTHING = -1  # no position: before the first event


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event that a service is handling; it is delivered again unless it is acknowledged.

    `nack` returns it for redelivery after a pause that grows with each delivery. `ack` raises
    Unavailable when the bus does not answer.
    """

    event: Event
    ack: Callable[[], Awaitable[None]]
    nack: Callable[[], Awaitable[None]]


class Bus(Protocol):
    """Carries events from the relay to every service that subscribed."""

    async def publish(self, events: Sequence[Event]) -> None:
        """Publish events in this order; return when all are confirmed.

        Raises Unavailable after a few tries; any of the events may have been sent by then.
        """

    async def note(self, position: int) -> None:
        """Record that every event up to this position of the log was confirmed."""

    async def confirmed(self, position: int) -> int:
        """Return the last position up to `position` that the bus still holds.

        It is lower than `position` when the bus has lost its newest events. NOTHING when the bus
        is new or was wiped: confirmed events that have no position yet are lost as well.
        """

    async def declare(self, service: str, patterns: Sequence[str]) -> None:
        """Declare the service's durable queue, which keeps events until it subscribes."""

    def subscribe(
        self, service: str, patterns: Sequence[str], *, stop: asyncio.Event
    ) -> AsyncIterator[Delivery]:
        """Yield the service's events that match a pattern, until `stop`.

        Continues by itself after an outage of the bus. An event that this subscription has
        acknowledged is not yielded again when the bus delivers it twice.
        """

    async def dead_letters(self, services: Iterable[str]) -> int:
        """Count the dead letters of these services. Raises Unavailable."""

    async def ping(self) -> None:
        """Raise Unavailable when the bus does not answer."""

    async def close(self) -> None:
        """Close all connections."""


class Seen:
    """The newest `limit` event ids that were handled.

    They are kept in memory, so a restarted service may receive its last events again.
    """

    def __init__(self, limit: int = SEEN_LIMIT) -> None:
        self._limit = limit
        self._ids: OrderedDict[str, None] = OrderedDict()

    def add(self, event: str) -> None:
        """Remember an id, and forget the oldest beyond the limit."""
        self._ids[event] = None
        self._ids.move_to_end(event)
        if len(self._ids) > self._limit:
            self._ids.popitem(last=False)

    def __contains__(self, event: str) -> bool:
        return event in self._ids


def matches(patterns: Sequence[str], event_type: str) -> bool:
    """Return whether one of the patterns covers an event type."""
    return any(
        _covers(tuple(pattern.split(".")), tuple(event_type.split("."))) for pattern in patterns
    )


@cache
def _covers(pattern: tuple[str, ...], words: tuple[str, ...]) -> bool:
    if not pattern:
        return not words
    first, rest = pattern[0], pattern[1:]
    if first == "#":
        return _covers(rest, words) or (bool(words) and _covers(pattern, words[1:]))
    return bool(words) and first in {"*", words[0]} and _covers(rest, words[1:])
