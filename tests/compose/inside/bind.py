"""Inside a role's container: bind a queue of the test's own that keeps all events from now on."""

from __future__ import annotations

import asyncio

import aio_pika

from atelier.settings import load


async def main() -> None:
    amqp_url = load().amqp_url
    assert amqp_url is not None
    async with await aio_pika.connect(amqp_url.get_secret_value()) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(
            "atelier.events", aio_pika.ExchangeType.TOPIC, durable=True
        )
        queue = await channel.declare_queue(
            "test.events", durable=True, arguments={"x-queue-type": "quorum"}
        )
        await queue.bind(exchange, "#")


asyncio.run(main())
