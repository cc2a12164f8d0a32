"""The load during a campaign: several clients that write, take, subscribe and watch."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.chaos.load.readers import Subscriber, Watcher
from tests.chaos.load.takers import Taker
from tests.chaos.load.writers import BOOKS, FILES, IMAGES, TASKS, Writer

if TYPE_CHECKING:
    from atelier.events.bus import Bus
    from tests.chaos.ledger import Ledger
    from tests.chaos.load.client import Client

WRITERS = (IMAGES, IMAGES, IMAGES, FILES, TASKS, BOOKS)
TAKERS = 3


class Load:
    """All clients of one user, as tasks of the running loop."""

    def __init__(
        self, client: Client, bus: Bus, *, grpc_port: int, token: str, seed: int, ledger: Ledger
    ) -> None:
        self._client = client
        self.subscriber = Subscriber(bus, ledger)
        self.watcher = Watcher(grpc_port, token, ledger)
        self._workers: list[Writer | Taker] = [
            Writer(f"{seed}-{kind.name}-{number}", kind, client, str(seed))
            for number, kind in enumerate(WRITERS)
        ]
        self._workers += [Taker(f"taker-{n}", client, str(seed)) for n in range(TAKERS)]
        self._stop, self._end = asyncio.Event(), asyncio.Event()
        self._working: list[asyncio.Task[None]] = []
        self._following: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Set all to work; the service of the subscriber is declared."""
        self._following = [
            asyncio.create_task(self.subscriber.run(self._end)),
            asyncio.create_task(self.watcher.run()),
        ]
        self._working = [asyncio.create_task(each.run(self._stop)) for each in self._workers]

    async def finish(self) -> list[BaseException]:
        """Let writers and takers finish what they began; return what ended them."""
        self._stop.set()
        ended = await asyncio.gather(*self._working, return_exceptions=True)
        return [error for error in ended if error is not None]

    async def close(self) -> None:
        """End the followers, and every connection."""
        self._end.set()
        for task in self._following:
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)
        await self._client.close()
