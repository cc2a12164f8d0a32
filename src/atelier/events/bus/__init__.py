"""The event bus as a port: events go out confirmed and come in to each service at least once.

Knows events' envelope only. Patterns are AMQP's: words between dots, `*` for one word, `#` for any
number of them.
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
# Of one event to one service before it is a dead letter; a restart of the service costs one, too
DELIVERIES = 20
DEAD_LIMIT = 10_000  # dead letters kept
SEEN_LIMIT = 10_000  # event ids remembered by a subscription
RETRY_AFTER = 5  # seconds
NOTHING = -1  # no position: not even those before the first


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event in a service's hands: it comes again unless it is acknowledged.

    `nack` gives it back, to come again after a pause that grows with its deliveries. `ack` raises
    Unavailable when the bus does not answer.
    """

    event: Event
    ack: Callable[[], Awaitable[None]]
    nack: Callable[[], Awaitable[None]]


class Bus(Protocol):
    """Carries events from the relay to every service that subscribed."""

    async def publish(self, events: Sequence[Event]) -> None:
        """Send events in this order; returns when all are confirmed.

        Raises Unavailable after a few tries, and then any of them may have been sent.
        """

    async def note(self, position: int) -> None:
        """Remember that everything up to this position of the log was confirmed."""

    async def confirmed(self, position: int) -> int:
        """How much of what was confirmed up to `position` the bus still has: less when it has lost its end.

        NOTHING when it is new or was wiped: what was confirmed but has no position yet is gone as
        well.
        """

    async def declare(self, service: str, patterns: Sequence[str]) -> None:
        """Make the service's durable queue, so that it misses nothing that is published before it subscribes."""

    def subscribe(
        self, service: str, patterns: Sequence[str], *, stop: asyncio.Event
    ) -> AsyncIterator[Delivery]:
        """The service's events that match a pattern, until `stop`.

        Goes on by itself after an outage of the bus.

        An event that this subscription has acknowledged is not delivered again when it comes a
        second time.
        """

    async def dead_letters(self, services: Iterable[str]) -> int:
        """Events that these services have given up and the bus still keeps. Raises Unavailable."""

    async def ping(self) -> None:
        """Raise Unavailable when the bus does not answer."""

    async def close(self) -> None:
        """Let go of connections."""


class Seen:
    """The newest `limit` event ids that were handled.

    In memory, so that a restarted service may see its last again.
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
    """Whether one of the patterns covers an event type."""
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
