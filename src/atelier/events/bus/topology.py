"""What the event bus has at a RabbitMQ: exchange, queues, and the mark of one that lost none."""

from __future__ import annotations

from collections.abc import Sequence

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractExchange, AbstractQueue
from aio_pika.exceptions import ChannelNotFoundEntity

from atelier.errors import Unavailable
from atelier.events.bus import DEAD_LIMIT, RETRY_AFTER


class Topology:
    """The durable exchanges and queues, and their bindings."""

    def __init__(self, prefix: str, deliveries: int) -> None:
        self._prefix = prefix
        self._deliveries = deliveries
        self._mark = f"{prefix}.mark"

    async def exchange(self, channel: AbstractChannel) -> AbstractExchange:
        """The exchange that every event is published to."""
        return await channel.declare_exchange(
            f"{self._prefix}.events", aio_pika.ExchangeType.TOPIC, durable=True
        )

    async def mark(self, channel: AbstractChannel) -> None:
        """Make the empty queue whose absence says that the broker's data is gone."""
        await channel.declare_queue(self._mark, durable=True)

    async def is_marked(self, channel: AbstractChannel) -> bool:
        """Return whether that queue is there. Closes the channel."""
        try:
            await channel.declare_queue(self._mark, passive=True)
        except ChannelNotFoundEntity:
            return False
        await channel.close()
        return True

    async def queue(
        self, channel: AbstractChannel, service: str, patterns: Sequence[str]
    ) -> AbstractQueue:
        """The service's queue, bound to its patterns, with a dead-letter queue."""
        events = await self.exchange(channel)
        dead = await self._dead(channel, service)
        queue = await channel.declare_queue(
            f"{self._prefix}.{service}",
            durable=True,
            arguments={
                "x-queue-type": "quorum",
                "x-delivery-limit": self._deliveries,
                # the default exchange routes straight to the queue of this name
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": dead.name,
            },
        )
        for pattern in patterns:
            await queue.bind(events, pattern)
        return queue

    async def dead_letters(self, channel: AbstractChannel, service: str) -> int:
        """Count the service's dead letters."""
        return (await self._dead(channel, service)).declaration_result.message_count or 0

    async def _dead(self, channel: AbstractChannel, service: str) -> AbstractQueue:
        name = f"{self._prefix}.{service}.dead"
        return await channel.declare_queue(
            name, durable=True, arguments={"x-max-length": DEAD_LIMIT}
        )


class Memory:
    """Tells by a mark at the broker if it still has what it confirmed.

    A mark that is missing on a new connection means that the broker is new or has lost its data.
    """

    def __init__(self) -> None:
        self._marked = False
        self._told = False  # `confirmed` has said that the mark is missing
        self._asked = False  # it is asked at all: not by a bus that only publishes

    def found(self, *, marked: bool) -> None:
        """Note how a new connection found the broker."""
        self._marked, self._told = marked, False

    def tell(self) -> bool:
        """Answer for `confirmed`: return whether nothing is lost."""
        self._asked, self._told = True, True
        return self._marked

    def may_mark(self) -> bool:
        """Return whether the mark is missing, and what was lost with it has been sent again."""
        return self._told and not self._marked

    def marked(self) -> None:
        """Note that the mark has been made."""
        self._marked = True

    def require_told(self) -> None:
        """Raise Unavailable when what was lost must be sent again first."""
        if self._asked and not self._told and not self._marked:
            raise Unavailable("the event bus has lost events", retry_after=RETRY_AFTER)
