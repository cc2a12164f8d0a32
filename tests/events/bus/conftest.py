"""Both implementations of the bus behind a TCP proxy that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aio_pika
import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from atelier.events.bus import Bus
from atelier.events.bus.rabbitmq import RabbitBus, connect
from atelier.events.bus.streams import StreamsBus
from tests.waiting import PATIENCE_SECONDS

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Proxy:
    """Passes bytes between a local port and a server, until it is cut."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def mend(self) -> None:
        """Listen, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self, *, refuse: bool = True) -> None:
        """Abort every connection and, if asked, refuse new ones."""
        if refuse and self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await self._connect()
        self._writers |= {writer, far_writer}
        try:
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            self._writers -= {writer, far_writer}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    writer.close()


@dataclass
class Lab:
    """A way to make buses of one kind, all over one proxy, and to look behind them."""

    proxy: Proxy
    make: Callable[..., Bus]
    inject: Callable[[bytes], Awaitable[Any]]
    dead: Callable[[str], Awaitable[list[bytes]]]
    made: list[Bus] = field(default_factory=list)

    def bus(self, **options: Any) -> Bus:
        """A bus with these options; closed at the end of the test."""
        self.made.append(self.make(**options))
        return self.made[-1]


@contextlib.asynccontextmanager
async def streams_lab(redis_url: str) -> AsyncIterator[Lab]:
    parts = urlsplit(redis_url)
    database = int(parse_qs(parts.query)["db"][0])
    proxy = Proxy(lambda: asyncio.open_unix_connection(parts.path))
    await proxy.mend()
    prefix = f"test-{secrets.token_hex(6)}"
    client = Redis(port=proxy.port, db=database, retry=Retry(NoBackoff(), 0))
    direct = Redis.from_url(redis_url)

    async def inject(body: bytes) -> None:
        await direct.xadd(f"{prefix}.events", {"body": body})

    async def dead(service: str) -> list[bytes]:
        letters = await direct.xrange(f"{prefix}.events:dead")
        return [
            fields[b"body"]
            for _, fields in letters
            if fields[b"reason"].startswith(f"{service}: ".encode())
        ]

    yield Lab(proxy, lambda **options: StreamsBus(client, prefix=prefix, **options), inject, dead)
    await proxy.cut()
    await client.aclose()
    await direct.delete(f"{prefix}.events", f"{prefix}.events:dead")
    await direct.aclose()


@contextlib.asynccontextmanager
async def rabbit_lab(amqp_url: str) -> AsyncIterator[Lab]:
    parts = urlsplit(amqp_url)
    proxy = Proxy(lambda: asyncio.open_connection(parts.hostname, parts.port or 5672))
    await proxy.mend()
    prefix = f"test-{secrets.token_hex(6)}"
    address = parts._replace(
        netloc=f"{parts.username}:{parts.password}@127.0.0.1:{proxy.port}"
    ).geturl()
    direct = await connect(amqp_url, PATIENCE_SECONDS)
    channel = await direct.channel()

    async def inject(body: bytes) -> None:
        exchange = await channel.get_exchange(f"{prefix}.events")
        await exchange.publish(aio_pika.Message(body), "image.created", mandatory=False)

    async def dead(service: str) -> list[bytes]:
        queue = await channel.get_queue(f"{prefix}.{service}.dead")
        found = []
        while (message := await queue.get(fail=False)) is not None:
            found.append(message.body)
            await message.ack()
        return found

    yield Lab(proxy, lambda **options: RabbitBus(address, prefix=prefix, **options), inject, dead)
    await proxy.cut()
    for service in ("one", "two"):
        await channel.queue_delete(f"{prefix}.{service}")
        await channel.queue_delete(f"{prefix}.{service}.dead")
    await channel.queue_delete(f"{prefix}.mark")
    await channel.exchange_delete(f"{prefix}.events")
    await direct.close()


@pytest.fixture(params=["streams", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
async def lab(request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    """Each implementation in turn."""
    if request.param == "streams":
        opened = streams_lab(request.getfixturevalue("redis_url"))
    else:
        opened = rabbit_lab(request.getfixturevalue("amqp_url"))
    async with opened as made:
        yield made
        for bus in made.made:
            await bus.close()
