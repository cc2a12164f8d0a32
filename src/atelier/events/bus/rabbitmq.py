"""The event bus on RabbitMQ: a topic exchange, a quorum queue per service, confirms.

Reconnects by itself: aio-pika's robust channels would acknowledge a message on a channel that did
not receive it.
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
from aio_pika.exceptions import (
    AMQPError,
    ChannelInvalidStateError,
    PublishError,
)

from atelier.errors import Unavailable
from atelier.events.bus import (
    DELIVERIES,
    NOTHING,
    PREFIX,
    RETRY_AFTER,
    Delivery,
    Seen,
    matches,
)
from atelier.events.bus.topology import Memory, Topology
from atelier.events.messages import Event
from atelier.retry import Outage, pause, retry

log = logging.getLogger("atelier.bus")

CONTENT_TYPE = "application/cloudevents+json"
IN_FLIGHT = 256  # events sent before the first of them must be confirmed
PREFETCH = 64  # unacknowledged events that the broker sends ahead to a subscription
TIMEOUT = 10.0  # seconds to connect, and for the confirms of one batch in flight
TRIES = 3
TRY_PAUSE = 0.5  # seconds between tries
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0  # seconds before a returned event is redelivered
# OSError holds ConnectionError and TimeoutError.
TROUBLE = (AMQPError, ChannelInvalidStateError, OSError)


class RabbitBus:
    """The event bus on the exchange `<prefix>.events`.

    A service's queue is `<prefix>.<service>`, its dead letters `<prefix>.<service>.dead`.
    """

    def __init__(self, url: str, *, prefix: str = PREFIX, deliveries: int = DELIVERIES) -> None:
        self._url = url
        self._topology = Topology(prefix, deliveries)
        self._connecting = asyncio.Lock()
        self._publishing = asyncio.Lock()
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._exchange: AbstractExchange
        self._services: dict[str, Sequence[str]] = {}  # declared ones and their patterns
        self._memory = Memory()

    async def publish(self, events: Sequence[Event]) -> None:
        """Publish in batches, each confirmed before the next is sent."""
        async with self._publishing:  # two callers at once would mix their orders
            for start in range(0, len(events), IN_FLIGHT):
                try:
                    await self._fly(events[start : start + IN_FLIGHT])
                except TROUBLE as error:
                    raise _unavailable() from error

    async def note(self, position: int) -> None:
        """Mark the broker as one that has what it confirmed; a quorum keeps that on disks.

        Not where a wipe has been found meanwhile that `confirmed` has not told of.
        """
        if self._memory.may_mark():
            try:
                async with asyncio.timeout(TIMEOUT), await self._aside() as channel:
                    await self._topology.mark(channel)
            except TROUBLE as error:
                raise _unavailable() from error
            self._memory.marked()

    async def confirmed(self, position: int) -> int:
        """Return `position`; NOTHING when the mark is gone, and with it the broker's data."""
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._open()
        except TROUBLE as error:
            raise _unavailable() from error
        return position if self._memory.tell() else NOTHING

    async def declare(self, service: str, patterns: Sequence[str]) -> None:
        """Declare the service's queue and its bindings."""
        try:
            async with await self._connect() as connection:
                await self._topology.queue(await connection.channel(), service, patterns)
        except TROUBLE as error:
            raise _unavailable() from error
        self._services[service] = patterns

    async def subscribe(
        self, service: str, patterns: Sequence[str], *, stop: asyncio.Event
    ) -> AsyncIterator[Delivery]:
        """Consume the service's queue over a connection of its own."""
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
        """Count dead letters on a channel of their own.

        Declaring a queue that exists with other arguments closes the channel.
        """
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
        """Close the publishing connection; subscriptions close their own when they end."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with suppress(*TROUBLE):
                await connection.close()

    @retry(TRIES, TRY_PAUSE, TROUBLE)
    async def _fly(self, events: Sequence[Event]) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._open()
                self._memory.require_told()
                sent = [
                    self._exchange.publish(_message(event), event.type, mandatory=True)
                    for event in events
                ]
                results = await asyncio.gather(*sent, return_exceptions=True)
            for event, result in zip(events, results, strict=True):
                self._check(event, result)
        except TROUBLE:
            await self.close()
            raise

    def _check(self, event: Event, result: object) -> None:
        """Raise what publishing ended with; an event that no service asked for may go nowhere."""
        if isinstance(result, PublishError):
            wanted = [
                name for name, patterns in self._services.items() if matches(patterns, event.type)
            ]
            if wanted:
                raise ConnectionResetError(f"the queues of {', '.join(wanted)} are gone")
        elif isinstance(result, BaseException):
            raise result

    async def _open(self) -> AbstractChannel:
        """Return the publishing channel; a new one, with every queue, when it is closed."""
        async with self._connecting:
            if self._channel is None or self._channel.is_closed:
                await self.close()
                self._connection = await self._connect()
                self._memory.found(
                    marked=await self._topology.is_marked(await self._connection.channel())
                )
                channel = await self._connection.channel(
                    publisher_confirms=True, on_return_raises=True
                )
                self._exchange = await self._topology.exchange(channel)
                for service, patterns in self._services.items():
                    await self._topology.queue(channel, service, patterns)
                self._channel = channel
            return self._channel

    async def _aside(self) -> AbstractChannel:
        """A second channel on the publishing connection."""
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


async def _inbox(
    channel: AbstractChannel, queue: AbstractQueue, stop: asyncio.Event
) -> AsyncIterator[AbstractIncomingMessage]:
    """Yield messages of a queue until `stop`.

    Raises ConnectionError when the channel closes or the broker cancels the consumer.
    """
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
    """Acknowledge or reject a message.

    Raises one of TROUBLE: aiormq raises a bare Exception when its writer has just closed.
    """
    try:
        await answer
    except TROUBLE:
        raise
    except Exception as error:
        raise ConnectionResetError("the channel has gone") from error


class _Hands:
    """How a subscription handles messages, over all its connections."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = patterns
        self._seen = Seen()
        self._giving_back: set[asyncio.Task[None]] = set()

    async def accept(self, message: AbstractIncomingMessage) -> Delivery | None:
        """Return the delivery of a message; None when it is malformed, not matched or not new."""
        try:
            event = Event.from_json(message.body)
        except msgspec.DecodeError as error:
            log.error(  # noqa: TRY400 - a traceback says nothing more
                "message %s is a dead letter: malformed: %s", message.message_id, error
            )
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
        """Cancel pending redeliveries: the closed connection has returned its messages already."""
        for task in self._giving_back:
            task.cancel()


async def _give_back(message: AbstractIncomingMessage) -> None:
    """Return a message after a pause: the broker would redeliver it at once."""
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
