"""Followers of what happens: a subscriber of the event bus, and a reader of WatchBooks."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import grpc

from atelier.errors import Unavailable
from atelier.proto.books.v1 import books_pb2 as pb
from atelier.proto.books.v1.books_pb2_grpc import BookServiceStub

if TYPE_CHECKING:
    from atelier.events.bus import Bus
    from atelier.events.messages import Event
    from tests.chaos.ledger import Ledger

SERVICE, EVERYTHING = "chaos", ("#",)
AGAIN_SECONDS = 0.2
BROKEN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)  # "call again"


class Subscriber:
    """A service that subscribed to every event."""

    def __init__(self, bus: Bus, ledger: Ledger) -> None:
        self._bus = bus
        self._ledger = ledger
        self.events: dict[str, Event] = {}
        """By id, in the order in which each came first."""
        self.repeated = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Write down what comes, until `stop`."""
        async for delivery in self._bus.subscribe(SERVICE, EVERYTHING, stop=stop):
            self._note(delivery.event)
            with suppress(Unavailable):  # then it comes again
                await delivery.ack()

    def _note(self, event: Event) -> None:
        known = self.events.setdefault(event.id, event)
        self.repeated += known is not event
        if known != event:
            self._ledger.fault(f"event {event.id} came with other content: {known}, then {event}")


class Watcher:
    """A client that follows all changes of books and resumes where it broke off."""

    def __init__(self, port: int, token: str, ledger: Ledger) -> None:
        self._address = f"127.0.0.1:{port}"
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._ledger = ledger
        self.changes: list[str] = []
        """The ids of the events, as they came."""
        self.position = 0
        self.codes: Counter[str] = Counter()

    async def run(self) -> None:
        """Follow until cancelled."""
        async with grpc.aio.insecure_channel(self._address) as channel:
            stub: Any = BookServiceStub(channel)
            while True:
                try:
                    await self._follow(stub)
                except grpc.aio.AioRpcError as error:
                    self._judge(error)
                await asyncio.sleep(AGAIN_SECONDS)

    async def _follow(self, stub: Any) -> None:
        request = pb.WatchBooksRequest(after_sequence=self.position)
        async for message in stub.WatchBooks(request, metadata=self._metadata):
            if message.sequence <= self.position and message.HasField("change"):
                self._ledger.fault(f"WatchBooks: {message.sequence} after {self.position}")
            self.position = max(self.position, message.sequence)
            if message.HasField("change"):
                self.changes.append(message.change.event_id)

    def _judge(self, error: grpc.aio.AioRpcError) -> None:
        self.codes[error.code().name] += 1
        if error.code() not in BROKEN:
            self._ledger.fault(f"WatchBooks: {error.code().name} {error.details()}")
