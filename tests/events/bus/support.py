"""Shared by tests of the event buses: an event, and a service that takes some."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from atelier.events.messages import Event, new_event_id
from tests.waiting import patience

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from atelier.events.bus import Bus, Delivery


def event(kind: str = "image.created", number: int = 1) -> Event:
    return Event(
        id=new_event_id(),
        type=kind,
        subject=f"images/{number}",
        sequence=number,
        time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        data={"title": "Тест", "number": number},
        actor="users/7",
        space=7,
    )


async def take(
    bus: Bus,
    count: int,
    service: str = "one",
    patterns: Sequence[str] = ("#",),
    *,
    ack: bool = True,
) -> list[Event]:
    """The next events of a service, over a subscription of its own."""
    taken: list[Event] = []
    stop = asyncio.Event()
    subscribed = aclosing(subscription(bus, service, patterns, stop))
    async with patience(), subscribed as deliveries:
        async for delivery in deliveries:
            taken.append(delivery.event)
            if ack:
                await delivery.ack()
            if len(taken) == count:
                break
    return taken


def subscription(
    bus: Bus, service: str, patterns: Sequence[str], stop: asyncio.Event
) -> AsyncGenerator[Delivery, None]:
    return cast("AsyncGenerator[Delivery, None]", bus.subscribe(service, patterns, stop=stop))
