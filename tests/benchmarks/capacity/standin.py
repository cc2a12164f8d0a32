"""A stand-in for an instance: a real HTTP server of a given rate that queues the rest."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from atelier.classify.http_client import Client, Endpoint
from benchmarks.capacity.arrivals import Operation
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class StandIn:
    """Serve one request at a time, `service` seconds each, none before `free` (loop time)."""

    def __init__(
        self, service: float = 0.0, answer: Callable[[str], tuple[int, bytes]] | None = None
    ) -> None:
        self.service, self.free = service, 0.0
        self.answer = answer or (lambda _: (200, b"{}"))
        self.asked: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        loop = asyncio.get_running_loop()
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                target = head.split()[1].decode()
                self.asked.append(target)
                self.free = max(self.free, loop.time()) + self.service
                await asyncio.sleep(self.free - loop.time())
                status, body = self.answer(target)
                writer.write(
                    f"HTTP/1.1 {status} Said\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                    + body
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def listening(made: StandIn) -> AsyncIterator[str]:
    """Its URL, while it listens."""
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        server.close_clients() if hasattr(server, "close_clients") else None


@asynccontextmanager
async def operation(made: StandIn) -> AsyncIterator[Operation]:
    """An operation that asks the stand-in for `/`."""
    async with listening(made) as url:
        client = Client(Endpoint(url), PATIENCE_SECONDS)

        async def fire(_: float) -> int:
            return (await client.send(client.endpoint.request("GET", "/"))).status

        yield Operation("stand-in", "what a stand-in answers", fire)
        client.close()
