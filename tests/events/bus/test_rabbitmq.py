"""Only for the bus on RabbitMQ: it looks on the wire as other AMQP clients expect."""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aio_pika
import pytest

from atelier.errors import Unavailable
from atelier.events.bus import NOTHING
from atelier.events.bus.rabbitmq import RabbitBus, connect
from atelier.events.messages import Event
from tests.events.bus.support import event
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aio_pika.abc import AbstractChannel

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
async def channel(amqp_url: str) -> AsyncIterator[AbstractChannel]:
    """A foreign client's channel."""
    async with await connect(amqp_url, PATIENCE_SECONDS) as connection:
        yield await connection.channel()


async def test_events_are_cloudevents_on_a_topic_exchange(
    amqp_url: str, channel: AbstractChannel
) -> None:
    """A foreign queue gets persistent messages with routing key, media type and id."""
    prefix = f"test-{secrets.token_hex(6)}"
    bus = RabbitBus(amqp_url, prefix=prefix)
    await bus.ping()
    exchange = await channel.get_exchange(f"{prefix}.events")
    queue = await channel.declare_queue(exclusive=True)
    await queue.bind(exchange, "image.*")
    sent = event("image.created")
    await bus.publish([event("book.created"), sent])
    message = await queue.get(timeout=PATIENCE_SECONDS)
    assert message is not None
    assert message.routing_key == "image.created"
    assert message.content_type == "application/cloudevents+json"
    assert message.message_id == sent.id
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert Event.from_json(message.body) == sent
    await message.ack()
    await bus.close()
    await channel.exchange_delete(f"{prefix}.events")


async def test_each_service_has_a_durable_quorum_queue(
    amqp_url: str, channel: AbstractChannel
) -> None:
    """Declaring the queue again as a durable quorum queue with a dead-letter queue agrees."""
    prefix = f"test-{secrets.token_hex(6)}"
    bus = RabbitBus(amqp_url, prefix=prefix, deliveries=7)
    await bus.declare("one", ["image.*"])
    arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": 7,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": f"{prefix}.one.dead",
    }
    await channel.declare_queue(f"{prefix}.one", durable=True, arguments=arguments)
    for name in (f"{prefix}.one", f"{prefix}.one.dead"):
        await channel.queue_delete(name)
    await channel.exchange_delete(f"{prefix}.events")


@pytest.mark.parametrize("url", ["amqp://guest:wrong@{host}/", "amqp://guest:guest@127.0.0.1:1/"])
async def test_a_wrong_address_or_password_is_unavailable(amqp_url: str, url: str) -> None:
    """A failure to connect is Unavailable, and the message holds no password."""
    bus = RabbitBus(url.format(host=amqp_url.split("@")[1].strip("/")))
    with pytest.raises(Unavailable) as refusal:
        await bus.ping()
    assert "wrong" not in str(refusal.value)


@pytest.fixture
async def prefix(channel: AbstractChannel) -> AsyncIterator[str]:
    """Names of the test's own; what bears them is deleted after it."""
    prefix = f"test-{secrets.token_hex(6)}"
    yield prefix
    await wipe(channel, prefix)


@asynccontextmanager
async def opened(url: str, prefix: str) -> AsyncIterator[RabbitBus]:
    """A bus, closed at the end."""
    bus = RabbitBus(url, prefix=prefix)
    yield bus
    await bus.close()


async def wipe(channel: AbstractChannel, prefix: str) -> None:
    """Take everything from the broker that a bus has made there."""
    for name in ("one", "one.dead", "mark"):
        await channel.queue_delete(f"{prefix}.{name}")
    await channel.exchange_delete(f"{prefix}.events")


async def test_a_queue_that_was_deleted_is_made_again(
    amqp_url: str, channel: AbstractChannel, prefix: str
) -> None:
    """An event that finds no queue is returned, and sent again to the queue that is made."""
    async with opened(amqp_url, prefix) as bus:
        await bus.declare("one", ["image.*"])
        await bus.publish([event("image.created")])
        await channel.queue_delete(f"{prefix}.one")
        lost = event("image.created")
        await bus.publish([event("book.created"), lost])
        queue = await channel.get_queue(f"{prefix}.one")
        message = await queue.get(timeout=PATIENCE_SECONDS, no_ack=True)
        assert message is not None
        assert message.message_id == lost.id
        assert await queue.get(fail=False) is None


async def test_a_new_or_wiped_broker_has_nothing(
    amqp_url: str, channel: AbstractChannel, prefix: str
) -> None:
    """A broker without a mark has lost all, at first and after a wipe."""
    async with opened(amqp_url, prefix) as bus:
        assert await bus.confirmed(7) == NOTHING
        await bus.note(7)
        assert await bus.confirmed(7) == 7
    async with opened(amqp_url, prefix) as bus:
        assert await bus.confirmed(7) == 7
        await wipe(channel, prefix)
        with pytest.raises(Unavailable):  # its channel has died of the missing exchange
            await bus.publish([event("image.created")])
        await bus.note(7)  # of what was confirmed before the wipe was told of
        assert await bus.confirmed(7) == NOTHING
        await bus.publish([event("image.created")])
        await bus.note(7)
        assert await bus.confirmed(7) == 7
