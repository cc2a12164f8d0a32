"""A client of the stream comes back over kills and stops of API processes, and misses nothing."""

from __future__ import annotations

import asyncio
import itertools
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx2

from tests.api.sse import Stream, send
from tests.tasks.test_killed import instance  # noqa: F401 - a fixture
from tests.waiting import PATIENCE_SECONDS, eventually

if TYPE_CHECKING:
    from tests.tasks.test_killed import Instance

KILLS = 5
HAPPEN = """
    INSERT INTO outbox (type, subject, sequence, data)
    VALUES ('book.created', 'books/' || $1::text, 1, '{}')
"""


class Listener:
    """A client that comes back with the last id it has seen, as a browser does."""

    def __init__(self, port: int, headers: dict[str, str]) -> None:
        self.heard: list[tuple[int, str]] = []
        self.opened = self.ended = self.broken = 0
        self._last = {"Last-Event-ID": "0"}
        self._url, self._headers = f"http://127.0.0.1:{port}/api/events", headers

    async def listen(self) -> None:
        """Listen, and come back, for ever."""
        async with httpx2.AsyncClient(timeout=PATIENCE_SECONDS) as client:
            while True:
                with suppress(httpx2.ConnectError):
                    await self._listen(client)

    async def _listen(self, client: httpx2.AsyncClient) -> None:
        try:
            headers = self._headers | self._last
            async with client.stream("GET", self._url, headers=headers) as answer:
                assert answer.status_code == 200, await answer.aread()
                self.opened += 1
                await self._read(Stream(answer))
        except (httpx2.ReadError, httpx2.RemoteProtocolError):
            self.broken += 1

    async def _read(self, stream: Stream) -> None:
        with suppress(StopAsyncIteration):
            while True:
                block = await stream.block()
                self._last = {"Last-Event-ID": str(stream.last_id)}
                if block.data:
                    self.heard.append((block.id or 0, block.data["subject"]))
        self.ended += 1


async def test_every_event_comes_once_however_often_the_api_is_killed(
    instance: Instance,  # noqa: F811 - the fixture
) -> None:
    """With -9 amid the events, five times; a stop ends the stream, and does not wait for it."""
    _, headers = await instance.user()
    port = instance.ports[0]
    listener = Listener(port, headers)
    listening = asyncio.create_task(listener.listen())
    made: list[str] = []

    async def happen() -> None:
        for number in itertools.count():
            await instance.database.fetch(HAPPEN, str(number))
            made.append(f"books/{number}")
            await send(instance.database)
            await asyncio.sleep(0.05)  # the processes under test need the machine, too

    happening = asyncio.create_task(happen())
    for kill in range(KILLS + 1):
        heard, opened = len(listener.heard), listener.opened
        await eventually(lambda heard=heard: len(listener.heard) > heard)  # type: ignore[misc]
        if kill == KILLS:
            instance.processes[port].send_signal(signal.SIGTERM)
            await asyncio.to_thread(instance.processes[port].wait)
            await instance.start(port)
        else:
            await instance.kill_one(port)
        await eventually(lambda opened=opened: listener.opened > opened)  # type: ignore[misc]
    happening.cancel()
    await asyncio.wait([happening])
    await send(instance.database)
    await eventually(lambda: len(listener.heard) >= len(made))
    listening.cancel()
    assert [subject for _, subject in listener.heard] == made
    assert [position for position, _ in listener.heard] == list(range(1, len(made) + 1))
    assert listener.broken >= KILLS, "a connection may break that was just made"
    assert listener.ended == 1
    assert "Cancel" not in (instance.folder / "api.log").read_text()
