"""Asks an instance all the time whether it is ready, and measures how long it was not."""

from __future__ import annotations

import asyncio
import time

import httpx2

from tests.waiting import eventually

POLL_SECONDS = 0.3
ANSWER_SECONDS = 30.0


class Readiness:
    """The answers of `/readyz` over time."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._last = time.monotonic()
        self._asked = 0.0
        self.longest = 0.0
        """Seconds between two answers that it is ready."""

    async def watch(self) -> None:
        """Ask until cancelled."""
        async with httpx2.AsyncClient(base_url=self._url, timeout=ANSWER_SECONDS) as client:
            while True:
                began = time.monotonic()
                if await _is_ready(client):
                    self.longest = max(self.longest, time.monotonic() - self._last)
                    self._last, self._asked = time.monotonic(), began
                await asyncio.sleep(POLL_SECONDS)

    async def again(self) -> None:
        """Wait until it is ready, as asked from now on. Raises AssertionError when it never is."""
        now = time.monotonic()
        await eventually(lambda: self._asked > now, "the instance does not become ready")


async def _is_ready(client: httpx2.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).status_code == 200
    except httpx2.HTTPError:
        return False
