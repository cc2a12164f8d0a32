"""Lets Celery workers on any number of machines classify chunks, and collects their outcomes.

Messages are hints, files are the truth: a chunk may be lost or run twice, and each picture's line
is still taken once.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from atelier.classify.chunks import DONE, Chunk, Piece, read
from atelier.classify.engine import Means, Recorder
from atelier.classify.jobs import sender
from atelier.classify.journal import Journal
from atelier.classify.outcomes import Entry, Failure
from atelier.retry import Outage

AHEAD = 256
"""Chunks in flight: enough for as many cores, each with one waiting."""

POLL_SECONDS = 0.2
"""Seconds between two looks for outcomes."""

STANDSTILL_SECONDS = 900.0
"""Seconds without life from any chunk until the oldest is ordered again: the queue may be gone."""

_log = logging.getLogger(__name__)


class Ordered:
    """A chunk in flight.

    `number` is its place in the queue; times are monotonic. `fresh` is false while what an earlier
    run left is to be collected.
    """

    def __init__(self, chunk: Chunk, number: int, *, fresh: bool = True) -> None:
        self.chunk = chunk
        self.number = number
        self.fresh = fresh
        self.missing = {piece.n for piece in chunk.pieces}
        self.begun: float | None = None
        self.alive = time.monotonic()
        self._stamp = 0.0

    def sign(self, stamp: float) -> bool:
        """Note the modification time of its file; true if that is a sign of life."""
        if stamp == self._stamp:
            return False
        self._stamp, self.alive = stamp, time.monotonic()
        self.begun = self.begun or self.alive
        return True

    def ordered_again(self, number: int) -> None:
        """Move it to the end of the queue, reduced to the pictures that are missing."""
        self.chunk.pieces = [piece for piece in self.chunk.pieces if piece.n in self.missing]
        self.number, self.begun, self.alive = number, None, time.monotonic()
        self.fresh = True


def lost(ordered: list[Ordered], life: float, now: float, silence: float) -> list[Ordered]:
    """The chunks to order again: fallen silent, overtaken, or the oldest of a standstill."""
    # The queue is first in, first out: once a later chunk has run for a while, an earlier one that
    # has not begun is no longer in the queue.
    found = [one for one in ordered if one.begun is not None and now - one.alive > silence]
    begun = [one.number for one in ordered if one.begun is not None and now - one.begun > silence]
    latest = max(begun, default=-1)
    found += [one for one in ordered if one.begun is None and one.number < latest]
    if not found and ordered and now - life > STANDSTILL_SECONDS:
        found = [min(ordered, key=lambda one: one.number)]
    return found


class Cluster:
    """The counterpart of `Engine` for many machines."""

    def __init__(
        self,
        means: Means,
        recorder: Recorder,
        journal: Journal,
        broker: str,
        *,
        size: int,
        silence: float,
    ) -> None:
        self.window = AHEAD * size
        self.draining = False
        self.waiting = False
        self.given_up = ""
        self._means = means
        self._recorder = recorder
        self._journal = journal
        self._size = size
        self._silence = silence
        self._send = sender(broker)
        self._outage = Outage(_log, "the Celery broker")
        self._ordered: dict[str, Ordered] = {}
        self._cut: list[Piece] = []
        self._name = ""
        self._count = 0
        self._life = time.monotonic()
        self._room = asyncio.Semaphore(AHEAD)
        self._idle = asyncio.Event()
        self._idle.set()

    def drain(self) -> None:
        """Order no more chunks; the next run collects those in flight."""
        self.draining = True
        self._idle.set()
        self._room.release()  # wakes an order that waits for room

    async def run(
        self, feed: Callable[[], Awaitable[None]], beside: list[Coroutine[Any, Any, None]]
    ) -> None:
        """Run until `feed` returns, and the coroutines of `beside` meanwhile."""
        self._folder.mkdir(exist_ok=True)
        async with asyncio.TaskGroup() as group:
            others = [group.create_task(work) for work in [*beside, self._take_in()]]
            await feed()
            for task in others:
                task.cancel()
        if not self.draining:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def put(self, entry: Entry) -> None:
        """Add a picture to the chunk being cut.

        Chunks of the walk are cut at fixed numbers, so that a run that was killed finds the
        outcomes of its own chunks again by name.
        """
        name = self._name_of(entry)
        if self._cut and (name != self._name or len(self._cut) >= self._size):
            await self._order()
        self._name = name if not self._cut else self._name
        self._cut.append(Piece(entry.n, entry.path, entry.retried))
        self._idle.clear()

    async def idle(self) -> None:
        """Wait until every chunk is collected, or given up because the run ends."""
        if self._cut and not self.draining:
            await self._order()
        await self._idle.wait()

    @property
    def _folder(self) -> Path:
        """The folder for outcomes: one per run, so a discarded run's late chunks are lost."""
        return self._journal.files.folder / f"chunks-{self._journal.state.run}"

    def _name_of(self, entry: Entry) -> str:
        state = self._journal.state
        if state.phase == "walk":
            return f"walk-{state.round}-{entry.n // self._size}"
        return self._name if self._cut else f"retry-{state.round}-{entry.after}"

    async def _order(self) -> None:
        chunk = self._chunk()
        self._cut = []
        await self._room.acquire()
        if self.draining:
            return
        self._count += 1
        done = chunk.done.exists()  # an earlier run may have had it done
        self._ordered[chunk.name] = Ordered(chunk, self._count, fresh=not done)
        if not done:
            await self._sent(chunk)

    def _chunk(self) -> Chunk:
        work, means = self._means.work, self._means
        return Chunk(
            name=self._name,
            folder=str(self._folder.resolve()),
            root=work.root,
            pieces=self._cut,
            url=means.url,
            headers=list(means.headers),
            rotate=work.rotate,
            resize=work.resize,
            pixels=work.pixels,
            seconds=work.seconds,
            memory=work.memory,
            timeout=means.timeout,
            tries=means.tries,
            concurrency=max(1, means.concurrency // means.workers),
            wrong_answers=means.wrong_answers,
        )

    async def _sent(self, chunk: Chunk) -> None:
        while not self.draining:
            try:
                await asyncio.to_thread(self._send, chunk)
            except Exception as error:
                await self._outage.failed(error)
            else:
                self._outage.over()
                return

    async def _take_in(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            for name in await asyncio.to_thread(self._outcomes):
                await self._taken(self._ordered[name])
            for ordered in lost(
                list(self._ordered.values()), self._life, time.monotonic(), self._silence
            ):
                await self._again(ordered)

    def _outcomes(self) -> list[str]:
        """The chunks in flight that are done; notes the signs of life of the others."""
        done = []
        for path in self._folder.iterdir():
            name = path.name.split(".")[0]
            if name not in self._ordered:
                continue
            if self._ordered[name].sign(_changed(path)):
                self._life = time.monotonic()
            if path.name.endswith(DONE):
                done.append(name)
        return done

    async def _taken(self, ordered: Ordered) -> None:
        wrong = ""
        for line in read(ordered.chunk.done):
            if isinstance(line, str):
                wrong = line
            elif line.n in ordered.missing:
                ordered.missing.discard(line.n)
                await (
                    self._recorder.failure(line)
                    if isinstance(line, Failure)
                    else self._recorder.result(line)
                )
        await self._journal.checkpoint()  # makes the lines durable before their source is deleted
        ordered.chunk.done.unlink()
        # A second worker may have published an outcome for fewer pictures, after the chunk was
        # ordered again with only those that were missing.
        if ordered.missing:
            if wrong and ordered.fresh:  # an earlier run's word is not about the service of today
                self._give_up(wrong)
            else:
                await self._again(ordered)
            return
        del self._ordered[ordered.chunk.name]
        self._room.release()
        if not self._ordered and not self._cut:
            self._idle.set()

    def _give_up(self, reason: str) -> None:
        if not self.given_up:
            _log.warning("the service answers wrongly (%s): giving up", reason)
            self.given_up = reason
            self.drain()

    async def _again(self, ordered: Ordered) -> None:
        _log.warning("chunk %s is ordered again", ordered.chunk.name)
        self._count += 1
        self._life = time.monotonic()
        ordered.ordered_again(self._count)
        await self._sent(ordered.chunk)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
