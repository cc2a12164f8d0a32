"""Inside a role's container: print every event in the test's own queue as a line of JSON."""

from __future__ import annotations

import asyncio

import aio_pika

from atelier.settings import load


async def main() -> None:
    amqp_url = load().amqp_url
    assert amqp_url is not None
    async with await aio_pika.connect(amqp_url.get_secret_value()) as connection:
        queue = await (await connection.channel()).get_queue("test.events")
        while message := await queue.get(fail=False, timeout=10):
            await message.ack()
            print(message.body.decode())


asyncio.run(main())
