"""The event bus on RabbitMQ: a durable topic exchange, one quorum queue per service, publisher confirms.

Reconnects by itself: aio-pika's robust channels would acknowledge a message on a channel that
never saw it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import suppress

import aio_pika
import msgspec
from aio_pika.abc import (
    AbstractChannel,
    AbstractConnection,
    AbstractExchange,
    AbstractIncomingMessage,
    AbstractQueue,
)
from aio_pika.connection import make_url
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError

from atelier.errors import Unavailable
from atelier.events.bus import DEAD_LIMIT, DELIVERIES, PREFIX, RETRY_AFTER, Delivery, Seen, matches
from atelier.events.messages import Event
from atelier.retry import Outage, pause, retry

log = logging.getLogger("atelier.bus")

CONTENT_TYPE = "application/cloudevents+json"
IN_FLIGHT = 256  # events sent before the first of them must be confirmed
PREFETCH = 64  # events given to a subscription that it has not acknowledged
TIMEOUT = 10.0  # seconds to connect, and for the confirms of one flight
TRIES = 3
TRY_PAUSE = 0.5  # seconds between tries
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0  # seconds before an event that was given back comes again
TROUBLE = (
    AMQPError,
    ChannelInvalidStateError,
    OSError,
)  # OSError holds ConnectionError and TimeoutError


class RabbitBus:
    """Events on the exchange `<prefix>.events`.

    A service's queue is `<prefix>.<service>`, dead letters `….dead`.
    """

    def __init__(self, url: str, *, prefix: str = PREFIX, deliveries: int = DELIVERIES) -> None:
        self._url = url
        self._topology = _Topology(prefix, deliveries)
        self._connecting = asyncio.Lock()
        self._publishing = asyncio.Lock()
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._exchange: AbstractExchange

    async def publish(self, events: Sequence[Event]) -> None:
        """In flights, each confirmed before the next leaves."""
        async with self._publishing:  # two batches at once would mix their orders
            for start in range(0, len(events), IN_FLIGHT):
                try:
                    await self._fly(events[start : start + IN_FLIGHT])
                except TROUBLE as error:
                    raise _unavailable() from error

    async def note(self, position: int) -> None:
        """Nothing to do: what is confirmed is on the disks of a quorum."""

    async def confirmed(self, position: int) -> int:
        """All of it: what a quorum has confirmed it does not lose."""
        return position

    async def declare(self, service: str, patterns: Sequence[str]) -> None:
        """Make the service's queue and bindings."""
        try:
            async with await self._connect() as connection:
                await self._topology.queue(await connection.channel(), service, patterns)
        except TROUBLE as error:
            raise _unavailable() from error

    async def subscribe(
        self, service: str, patterns: Sequence[str], *, stop: asyncio.Event
    ) -> AsyncIterator[Delivery]:
        """Consume the service's queue, over a connection of its own."""
        outage, hands = Outage(log, "the event bus"), _Hands(patterns)
        try:
            while not stop.is_set():
                try:
                    async with await self._connect() as connection:
                        inbox = await self._consume(connection, service, patterns, stop)
                        outage.over()
                        async for message in inbox:
                            delivery = await hands.accept(message)
                            if delivery is not None:
                                yield delivery
                except TROUBLE as error:
                    await outage.failed(error)
        finally:
            hands.drop()

    async def _consume(
        self,
        connection: AbstractConnection,
        service: str,
        patterns: Sequence[str],
        stop: asyncio.Event,
    ) -> AsyncIterator[AbstractIncomingMessage]:
        channel = await connection.channel()
        await channel.set_qos(PREFETCH)
        return await _inbox(channel, await self._topology.queue(channel, service, patterns), stop)

    async def dead_letters(self, services: Iterable[str]) -> int:
        """Ask over a channel of its own: a queue that somebody has made otherwise closes the one that asks."""
        try:
            async with asyncio.timeout(TIMEOUT), await self._aside() as channel:
                return sum(
                    [await self._topology.dead_letters(channel, service) for service in services]
                )
        except TROUBLE as error:
            raise _unavailable() from error

    async def ping(self) -> None:
        """Ask the broker for the exchange."""
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._topology.exchange(await self._open())
        except TROUBLE as error:
            raise _unavailable() from error

    async def close(self) -> None:
        """Close the publishing connection; subscriptions close theirs when they end."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with suppress(*TROUBLE):
                await connection.close()

    @retry(TRIES, TRY_PAUSE, TROUBLE)
    async def _fly(self, events: Sequence[Event]) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._open()
                sent = [
                    self._exchange.publish(_message(event), event.type, mandatory=False)
                    for event in events
                ]
                results = await asyncio.gather(*sent, return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
        except TROUBLE:
            await self.close()
            raise

    async def _open(self) -> AbstractChannel:
        """The publishing channel, made anew when it is gone."""
        async with self._connecting:
            if self._channel is None or self._channel.is_closed:
                await self.close()
                self._connection = await self._connect()
                self._channel = await self._connection.channel(publisher_confirms=True)
                self._exchange = await self._topology.exchange(self._channel)
            return self._channel

    async def _aside(self) -> AbstractChannel:
        """A channel beside the publishing one, on its connection."""
        await self._open()
        if self._connection is None:
            raise ConnectionResetError("the connection has gone")
        return await self._connection.channel()

    async def _connect(self) -> AbstractConnection:
        return await connect(self._url, TIMEOUT)


async def connect(url: str, seconds: float) -> AbstractConnection:
    """An open connection to the broker at `url`, within `seconds`.

    One that does not open is closed here. `aio_pika.connect` leaves it to the garbage collector,
    which may run where no event loop does.
    """
    connection = aio_pika.Connection(make_url(url))
    try:
        await connection.connect(timeout=seconds)
    except BaseException:
        await connection.close()
        raise
    return connection


class _Topology:
    """The durable exchanges and queues and how they hang together."""

    def __init__(self, prefix: str, deliveries: int) -> None:
        self._prefix = prefix
        self._deliveries = deliveries

    async def exchange(self, channel: AbstractChannel) -> AbstractExchange:
        """Where every event enters."""
        return await channel.declare_exchange(
            f"{self._prefix}.events", aio_pika.ExchangeType.TOPIC, durable=True
        )

    async def queue(
        self, channel: AbstractChannel, service: str, patterns: Sequence[str]
    ) -> AbstractQueue:
        """The service's queue, bound to its patterns and with a place for its dead letters."""
        events = await self.exchange(channel)
        dead = await self._dead(channel, service)
        queue = await channel.declare_queue(
            f"{self._prefix}.{service}",
            durable=True,
            arguments={
                "x-queue-type": "quorum",
                "x-delivery-limit": self._deliveries,
                # the default exchange: straight to the queue of this name
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": dead.name,
            },
        )
        for pattern in patterns:
            await queue.bind(events, pattern)
        return queue

    async def dead_letters(self, channel: AbstractChannel, service: str) -> int:
        """How many the service has."""
        return (await self._dead(channel, service)).declaration_result.message_count or 0

    async def _dead(self, channel: AbstractChannel, service: str) -> AbstractQueue:
        name = f"{self._prefix}.{service}.dead"
        return await channel.declare_queue(
            name, durable=True, arguments={"x-max-length": DEAD_LIMIT}
        )


async def _inbox(
    channel: AbstractChannel, queue: AbstractQueue, stop: asyncio.Event
) -> AsyncIterator[AbstractIncomingMessage]:
    """Messages of a queue until `stop`; ConnectionError when the channel closes or the broker cancels the consumer."""
    messages: asyncio.Queue[AbstractIncomingMessage | None] = asyncio.Queue()

    def end(*_: object) -> None:
        messages.put_nowait(None)

    async def end_at_stop() -> None:
        await stop.wait()
        end()

    async def read() -> AsyncIterator[AbstractIncomingMessage]:
        stopping = asyncio.create_task(end_at_stop())
        try:
            while (message := await messages.get()) is not None and not stop.is_set():
                yield message
        finally:
            stopping.cancel()
        if not stop.is_set():
            raise ConnectionError("the broker closed the subscription")

    channel.close_callbacks.add(end)
    queue.close_callbacks.add(end)
    await queue.consume(messages.put)
    return read()


async def _settle(answer: Awaitable[object]) -> None:
    """Answer for a message.

    Raises one of TROUBLE; aiormq's own is a bare Exception when its writer has just gone.
    """
    try:
        await answer
    except TROUBLE:
        raise
    except Exception as error:
        raise ConnectionResetError("the channel has gone") from error


class _Hands:
    """What a subscription does with messages, over all its connections."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = patterns
        self._seen = Seen()
        self._giving_back: set[asyncio.Task[None]] = set()

    async def accept(self, message: AbstractIncomingMessage) -> Delivery | None:
        """The delivery of a message, unless it is no event, not for this service or not new."""
        try:
            event = Event.from_json(message.body)
        except msgspec.DecodeError as error:
            log.error("message %s is a dead letter: malformed: %s", message.message_id, error)  # noqa: TRY400 - not ours
            await _settle(message.reject())
            return None
        if event.id in self._seen or not matches(self._patterns, event.type):
            await _settle(message.ack())
            return None
        return self._delivery(message, event)

    def _delivery(self, message: AbstractIncomingMessage, event: Event) -> Delivery:
        async def ack() -> None:
            self._seen.add(event.id)
            try:
                await _settle(message.ack())
            except TROUBLE as error:
                raise _unavailable() from error

        async def nack() -> None:
            task = asyncio.create_task(_give_back(message))
            self._giving_back.add(task)
            task.add_done_callback(self._giving_back.discard)

        return Delivery(event, ack, nack)

    def drop(self) -> None:
        """Give nothing back any more: closed connections have done so."""
        for task in self._giving_back:
            task.cancel()


async def _give_back(message: AbstractIncomingMessage) -> None:
    """After a pause: the broker would deliver it again at once."""
    count = message.headers.get("x-delivery-count", 0)
    await asyncio.sleep(pause(int(str(count)) + 1, FIRST_PAUSE, LONGEST_PAUSE))
    with suppress(*TROUBLE):
        await message.nack(requeue=True)


def _message(event: Event) -> aio_pika.Message:
    return aio_pika.Message(
        event.to_json(),
        content_type=CONTENT_TYPE,
        message_id=event.id,
        type=event.type,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )


def _unavailable() -> Unavailable:
    return Unavailable("the event bus does not answer", retry_after=RETRY_AFTER)
