"""Clients that take tasks, hold them a while, and complete them or give them back."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from tests.chaos.ledger import Handout

if TYPE_CHECKING:
    from tests.chaos.load.client import Client

LONG_SECONDS = 86_400  # a lease that nobody outlives
SHORT_SECONDS = 1  # a lease whose taker is never heard of again
LEASES = (LONG_SECONDS, LONG_SECONDS, LONG_SECONDS, SHORT_SECONDS, None)  # None: for good
HOLD_SECONDS = 0.0, 0.3
IDLE_SECONDS = 0.3  # when there is no free task
ENDS = {"complete": "completed", "release": "released"}


class Taker:
    """One client that takes tasks, one at a time."""

    def __init__(self, name: str, client: Client, seed: str) -> None:
        self.name = name
        self._client = client
        self._dice = random.Random(f"{seed} {name}")

    async def run(self, stop: asyncio.Event) -> None:
        """Take until `stop`, and give back what was taken. Raises StuckError."""
        while not stop.is_set():
            await self._take(self._dice.choice(LEASES))

    async def _take(self, lease: int | None) -> None:
        wanted = {} if lease is None else {"lease_seconds": lease}
        answer = await self._client.keyed(
            "take a task", "/api/tasks/take", {200, 404}, json=wanted
        )
        if answer.status_code == 404:
            await asyncio.sleep(IDLE_SECONDS)
            return
        handout = Handout(answer.json()["id"], int(answer.headers["ETag"].strip('"')))
        held = lease == LONG_SECONDS
        self._client.ledger.handed(handout, self.name, held=held)
        await asyncio.sleep(self._dice.uniform(*HOLD_SECONDS))
        if held:
            await self._give_back(handout, self._dice.choice(list(ENDS)))

    async def _give_back(self, handout: Handout, how: str) -> None:
        self._client.ledger.giving_back(handout)
        path = f"/api/tasks/{handout.task}/{how}"
        await self._client.keyed(f"{how} a task", path, {200}, json={"token": handout.number})
        self._client.ledger.gave_back(handout, ENDS[how])
