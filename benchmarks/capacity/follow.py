"""Waits for acknowledged uploads to become ready, asking for the oldest unfinished one."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from atelier.classify.http_client import BadAnswer
from benchmarks.capacity.session import Session

State = Literal["waiting", "ready", "failed"]

ASKERS = 2
POLL_SECONDS = 0.04
"""Between two questions about one upload: less is more exact and costs the server more."""


class Follower:
    """Follows uploads by id; `target` is where to ask about one, `judge` reads the answer."""

    def __init__(
        self, session: Session, target: Callable[[int], str], judge: Callable[[bytes], State]
    ) -> None:
        self._session = session
        self._target = target
        self._judge = judge
        self._waiting: deque[tuple[int, float]] = deque()
        self._asked: dict[int, float] = {}
        self.times: list[float] = []
        self.failed = 0
        self._last = 0.0

    def add(self, upload: int, since: float) -> None:
        """Follow one that came `since` this moment of the monotonic clock."""
        self._waiting.append((upload, since))

    def reset(self) -> None:
        """Forget what was measured, and whatever still waits."""
        self._waiting.clear()
        self._asked.clear()
        self.times.clear()
        self.failed = 0
        self._last = 0.0

    @property
    def waiting(self) -> int:
        """How many are acknowledged and not known to be ready."""
        return len(self._waiting) + len(self._asked)

    def oldest(self) -> float:
        """Seconds that the oldest has waited."""
        since = list(self._asked.values()) + [since for _, since in list(self._waiting)[:1]]
        return time.monotonic() - min(since) if since else 0.0

    def per_second(self, began: float) -> float:
        """Uploads that became ready a second, from `began` to the last of them."""
        return len(self.times) / max(self._last - began, 1e-9) if self.times else 0.0

    async def run(self) -> None:
        """Ask, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(ASKERS):
                group.create_task(self._ask())

    async def drained(self, seconds: float) -> bool:
        """Wait so long at most until nothing waits; whether that is so."""
        end = time.monotonic() + seconds
        while self.waiting and time.monotonic() < end:
            await asyncio.sleep(POLL_SECONDS)
        return not self.waiting

    async def _ask(self) -> None:
        while True:
            if not self._waiting:
                await asyncio.sleep(POLL_SECONDS)
                continue
            upload, since = self._waiting.popleft()
            self._asked[upload] = since
            state = await self._settled(upload)
            if self._asked.pop(upload, None) == since:
                self._settle(state, since)

    async def _settled(self, upload: int) -> State:
        """Ask until it does not wait any more, or was forgotten meanwhile."""
        while (state := await self._state(upload)) == "waiting" and upload in self._asked:
            await asyncio.sleep(POLL_SECONDS)
        return state

    async def _state(self, upload: int) -> State:
        try:
            answer = await self._session.client.send(
                self._session.request("GET", self._target(upload))
            )
        except (OSError, BadAnswer):
            return "waiting"
        return self._judge(answer.body) if answer.status == 200 else "waiting"

    def _settle(self, state: State, since: float) -> None:
        self._last = time.monotonic()
        if state == "failed":
            self.failed += 1
        else:
            self.times.append(self._last - since)
