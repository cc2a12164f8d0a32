"""Transforms pictures in processes and classifies them by the service, on this machine.

Knows neither where pictures come from nor where outcomes go.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from atelier.classify.breaker import WRONG_ANSWERS, CircuitBreaker, Drained
from atelier.classify.channel import Channel, Room
from atelier.classify.http_client import Client, Endpoint
from atelier.classify.outcomes import Entry, Failed, Failure, Result, Transformed, failure, result
from atelier.classify.pool import Pool, Work
from atelier.classify.remote import Remote

BYTES_IN_HAND = 32 << 20
"""Transformed pictures that wait for a request or are in one, in bytes."""


class Recorder(Protocol):
    """The destination of outcomes; a picture is done when its line is recorded."""

    async def result(self, line: Result) -> None:
        """Record the answer to a picture."""

    async def failure(self, line: Failure) -> None:
        """Record that a picture failed, and how."""


@dataclass(frozen=True)
class Means:
    """The means of classification: the processes and their work, the service and its limits."""

    work: Work
    url: str
    headers: tuple[tuple[str, str], ...]
    workers: int
    concurrency: int
    timeout: float = 60.0
    tries: int = 5
    wrong_answers: int = WRONG_ANSWERS


class Engine:
    """`run` a function that feeds pictures by `put`; `idle` waits until all of them are done."""

    window = 65_536
    """Most pictures from the oldest unfinished to the newest begun; bounds the checkpoint."""

    def __init__(self, means: Means, recorder: Recorder) -> None:
        self._means = means
        self._recorder = recorder
        self._breaker = CircuitBreaker(wrong_answers=means.wrong_answers)
        self._client = Client(Endpoint(means.url, means.headers), means.timeout)
        self._remote = Remote(self._client, self._breaker, means.tries)
        self._room = Room(BYTES_IN_HAND)
        self._entries = Channel(2 * means.workers)
        self._ready: asyncio.Queue[tuple[Entry, Transformed]] = asyncio.Queue(means.concurrency)
        self._in_hand = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting(self) -> bool:
        """True while the service counts as down."""
        return self._breaker.open

    @property
    def draining(self) -> bool:
        """True if the run is being ended early."""
        return self._breaker.draining

    @property
    def given_up(self) -> str:
        """What is wrong with the answers for which the run was given up."""
        return self._breaker.given_up

    def drain(self) -> None:
        """Finish the requests in flight, unless they wait for the service; leave the rest."""
        self._breaker.drain()

    async def run(
        self, feed: Callable[[], Awaitable[None]], beside: list[Coroutine[Any, Any, None]]
    ) -> None:
        """Run until `feed` returns, and the coroutines of `beside` meanwhile."""
        pool = Pool(self._means.work, self._entries.next, self._entries.now, self._transformed)
        async with asyncio.TaskGroup() as group:
            others = [group.create_task(work) for work in beside]
            tending = [group.create_task(pool.tend()) for _ in range(self._means.workers)]
            others += [group.create_task(self._send()) for _ in range(self._means.concurrency)]
            await feed()
            await self._entries.close()
            await asyncio.gather(*tending)
            for task in others:
                task.cancel()
        self._client.close()

    async def put(self, entry: Entry) -> None:
        """Begin a picture as soon as there is room for it."""
        self._in_hand += 1
        self._idle.clear()
        await self._entries.put(entry)

    async def idle(self) -> None:
        """Wait until every picture begun is done, or given up because the run ends."""
        await self._idle.wait()

    async def _transformed(self, entry: Entry, outcome: Transformed | Failed) -> None:
        if isinstance(outcome, Failed):
            await self._recorder.failure(failure(entry, outcome))
            self._finished()
        else:
            await self._room.take(len(outcome.jpeg))
            await self._ready.put((entry, outcome))

    async def _send(self) -> None:
        while True:
            entry, picture = await self._ready.get()
            with contextlib.suppress(Drained):
                await self._classify(entry, picture)
            await self._room.free(len(picture.jpeg))
            self._finished()

    async def _classify(self, entry: Entry, picture: Transformed) -> None:
        try:
            answer = await self._remote.classify(picture)
        except Failed as failed:
            await self._recorder.failure(failure(entry, failed))
        else:
            await self._recorder.result(result(entry, picture, answer))

    def _finished(self) -> None:
        self._in_hand -= 1
        if not self._in_hand:
            self._idle.set()
