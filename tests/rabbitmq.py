"""A RabbitMQ for tests of a whole instance: a virtual host of their own, and a way to cut it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aio_pika.exceptions import AMQPError

from atelier.bootstrap import SUBSCRIPTIONS
from atelier.events.bus import PREFIX
from atelier.events.bus.rabbitmq import connect
from tests.events.bus.conftest import Proxy
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

FILES_QUEUE = "atelier.files"


@contextlib.asynccontextmanager
async def virtual_host(
    amqp_url: str, services: Iterable[str] = SUBSCRIPTIONS
) -> AsyncIterator[str]:
    """The URL of a virtual host of the caller's own where one can be made.

    Else what the instance and its services declare is deleted after it.
    """
    name = f"atelier-{secrets.token_hex(4)}"
    url = urlsplit(amqp_url)._replace(path=f"/{name}").geturl()
    user = urlsplit(amqp_url).username or "guest"
    made = await asyncio.to_thread(_ctl, "add_vhost", name)
    try:
        if (
            made
            and await asyncio.to_thread(_ctl, "set_permissions", "-p", name, user, *[".*"] * 3)
            and await reachable(url)
        ):
            yield url
        else:
            yield amqp_url
            await _delete_all(amqp_url, services)
    finally:
        if made:
            await asyncio.to_thread(_ctl, "delete_vhost", name)


@contextlib.asynccontextmanager
async def proxied(amqp_url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy in front of the broker, and the URL that leads through it."""
    parts = urlsplit(amqp_url)
    proxy = Proxy(lambda: asyncio.open_connection(parts.hostname, parts.port or 5672))
    await proxy.mend()
    place = f"{parts.username}:{parts.password}@127.0.0.1:{proxy.port}"
    try:
        yield proxy, parts._replace(netloc=place).geturl()
    finally:
        await proxy.cut()


async def reachable(amqp_url: str) -> bool:
    """True if a broker's virtual host takes connections."""
    with contextlib.suppress(AMQPError, OSError):
        await (await connect(amqp_url, PATIENCE_SECONDS)).close()
        return True
    return False


async def _delete_all(amqp_url: str, services: Iterable[str]) -> None:
    async with await connect(amqp_url, PATIENCE_SECONDS) as connection:
        channel = await connection.channel()
        for service in services:
            await channel.queue_delete(f"{PREFIX}.{service}")
            await channel.queue_delete(f"{PREFIX}.{service}.dead")
        await channel.queue_delete(FILES_QUEUE)
        await channel.queue_delete(f"{PREFIX}.mark")
        await channel.exchange_delete(f"{PREFIX}.events")


def _ctl(*words: str) -> bool:
    """Run `rabbitmqctl`; whether it is there and did it."""
    with contextlib.suppress(FileNotFoundError):
        command = ["rabbitmqctl", *words]
        done = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE_SECONDS)
        return done.returncode == 0
    return False
