"""Sends time, class and size of each answer to a statistics service, without slowing the run."""

from __future__ import annotations

import asyncio

import msgspec

from atelier.classify.http_client import BadAnswer, Client, Endpoint
from atelier.classify.outcomes import Result

BATCH_MOST = 500
"""Samples per request."""

BATCH_SECONDS = 1.0
"""Longest time that a sample waits for others, in seconds."""

HELD_MOST = 20_000
"""Samples held while the service is slow or away; beyond, the oldest are dropped and counted."""

TIMEOUT_SECONDS = 10.0

UNANSWERED = "no answer before the run ended"


class Sample(msgspec.Struct):
    """The sample of one answer, as the statistics service gets it."""

    elapsed_ms: float
    label: str = msgspec.field(name="class")
    size: int


class Telemetry:
    """Takes samples without blocking and sends them in the background.

    A batch that cannot be sent is dropped.
    """

    def __init__(self, url: str) -> None:
        endpoint = Endpoint(url)
        self._client = Client(endpoint, TIMEOUT_SECONDS)
        self._target = (endpoint.path or "/") + (f"?{endpoint.query}" if endpoint.query else "")
        self._held: list[Sample] = []
        self._posting: asyncio.Task[None] | None = None
        self.sent = 0
        self.dropped = 0
        self.last_error = ""

    def add(self, line: Result) -> None:
        """Keep a sample of an answer for the next batch."""
        self._held.append(Sample(line.elapsed_ms, line.label, line.size))
        if len(self._held) > HELD_MOST:
            del self._held[:BATCH_MOST]
            self.dropped += BATCH_MOST

    async def run(self) -> None:
        """Send batches until cancelled; `finish` waits for the one in flight."""
        while True:
            await asyncio.sleep(BATCH_SECONDS)
            while self._held:
                # A cancelled request may have arrived: sent again, its samples would count twice.
                await asyncio.shield(self._begin())

    async def finish(self, seconds: float = 2 * TIMEOUT_SECONDS) -> None:
        """Send the rest; drop whatever takes longer than `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                if self._posting:
                    await self._posting
                while self._held:
                    await self._begin()
        except TimeoutError:
            self._lost(self._held, UNANSWERED)
            self._held = []
        self._client.close()

    def _begin(self) -> asyncio.Task[None]:
        """Post the next batch in a task of its own."""
        batch, self._held = self._held[:BATCH_MOST], self._held[BATCH_MOST:]
        self._posting = asyncio.create_task(self._post(batch))
        return self._posting

    async def _post(self, batch: list[Sample]) -> None:
        body = msgspec.json.encode(batch)
        try:
            response = await self._client.post(self._target, "application/json", body)
        except (OSError, BadAnswer) as error:
            self._lost(batch, str(error) or type(error).__name__)
        except asyncio.CancelledError:
            self._lost(batch, UNANSWERED)
            raise
        else:
            if 200 <= response.status < 300:
                self.sent += len(batch)
            else:
                self._lost(batch, f"status {response.status}")

    def _lost(self, batch: list[Sample], reason: str) -> None:
        self.dropped += len(batch)
        self.last_error = reason
