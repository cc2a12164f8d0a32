"""One run: the walk feeds pictures to a classifier, and the journal keeps the outcomes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Protocol

import msgspec

from atelier.classify import sources
from atelier.classify.engine import Recorder
from atelier.classify.journal import Journal, JournalError
from atelier.classify.lines import Lines
from atelier.classify.outcomes import Entry, Failure, Result
from atelier.classify.telemetry import Telemetry
from atelier.classify.walker import Note, Order
from atelier.errors import AtelierError

WINDOW_SECONDS = 0.05
"""Seconds between two looks at whether the window has moved on."""

CHECKPOINT_SECONDS = 2.0
"""Seconds between checkpoints: the most that a power cut loses; a kill loses nothing."""

_log = logging.getLogger(__name__)


class WalkFailed(AtelierError):
    """The walking process failed."""

    slug = "walk-failed"


class Doer(Protocol):
    """A classifier: this machine (`Engine`) or many (`Cluster`)."""

    window: int

    @property
    def waiting(self) -> bool:
        """True while the service counts as down."""

    @property
    def draining(self) -> bool:
        """True if the run is being ended early."""

    @property
    def given_up(self) -> str:
        """What is wrong with the answers for which the run was given up, else empty."""

    def drain(self) -> None:
        """End the run early."""

    async def run(
        self, feed: Callable[[], Awaitable[None]], beside: list[Coroutine[Any, Any, None]]
    ) -> None:
        """Run until `feed` returns."""

    async def put(self, entry: Entry) -> None:
        """Begin a picture, once there is room for one more."""

    async def idle(self) -> None:
        """Wait until every picture begun is done."""


class Recording:
    """Records outcomes in the journal, and sends answers to the statistics service too."""

    def __init__(self, journal: Journal, telemetry: Telemetry | None) -> None:
        self._journal = journal
        self._telemetry = telemetry

    async def result(self, line: Result) -> None:
        """Record an answer, and pass it to the statistics."""
        await self._journal.result(line)
        if self._telemetry:
            self._telemetry.add(line)

    async def failure(self, line: Failure) -> None:
        """Record a failure in the journal alone."""
        await self._journal.failure(line)


class Run:
    """A run over one journal.

    `drain` ends it early, after the pictures in hand; cancelling `run` ends it at once.
    """

    def __init__(
        self,
        journal: Journal,
        make: Callable[[Recorder], Doer],
        telemetry: Telemetry | None,
        *,
        retry_failed: bool,
    ) -> None:
        self._journal = journal
        self._doer = make(Recording(journal, telemetry))
        self._retry_failed = retry_failed
        self.telemetry = telemetry
        self.walk = sources.Progress()
        self.folders_unreadable = 0

    @property
    def waiting(self) -> bool:
        """True while the remote service is down."""
        return self._doer.waiting

    @property
    def draining(self) -> bool:
        """True if the run is being ended early."""
        return self._doer.draining

    @property
    def given_up(self) -> str:
        """What is wrong with the answers for which the run was given up, else empty."""
        return self._doer.given_up

    def drain(self) -> None:
        """Begin no more pictures; finish the requests in flight, unless they wait."""
        self._doer.drain()
        self.walk.stop()

    async def run(self) -> None:
        """Classify every picture that is not done."""
        await self._doer.run(self._feed, [self._walk(), self._checkpoints(), self._telemetry()])
        if self.telemetry:
            await self.telemetry.finish()
        await self._journal.checkpoint()

    async def _feed(self) -> None:
        journal = self._journal
        await journal.enter("walk")
        await self._through(
            sources.walked(journal.files.walk, journal.resume_position.position, self.walk)
        )
        again = journal.state.retrying
        if self._retry_failed and not self.draining and not again and journal.has_failures:
            await journal.begin_round()
            again = True
        if again and not self.draining:
            await self._retry()

    async def _retry(self) -> None:
        journal = self._journal
        await journal.enter("retry")
        lines = Lines(journal.files.retried(journal.state.round))
        with contextlib.closing(lines):
            await self._through(sources.failed(lines, journal.resume_position.position))
        if not self.draining:
            await journal.end_round()

    async def _through(self, source: AsyncIterator[Entry]) -> None:
        """Pass on a whole source, and wait until all of it is done."""
        async for entry in source:
            while len(self._journal.resume_position) > self._doer.window and not self.draining:  # noqa: ASYNC110 - seldom waits
                await asyncio.sleep(WINDOW_SECONDS)
            if self.draining:
                break
            if self._journal.open(entry):
                await self._doer.put(entry)
        await self._doer.idle()

    async def _checkpoints(self) -> None:
        while True:
            await asyncio.sleep(CHECKPOINT_SECONDS)
            if self.draining:  # also by itself, when it gives up
                self.walk.stop()
            await self._journal.checkpoint()

    async def _telemetry(self) -> None:
        if self.telemetry:
            await self.telemetry.run()

    async def _walk(self) -> None:
        """Run the walking process and follow its notes."""
        subject, log = self._journal.state.subject, self._journal.files.walk
        order = Order(subject.root, str(log), subject.recursive, subject.shard, subject.shards)
        process = await asyncio.create_subprocess_exec(
            *(
                sys.executable,
                "-m",
                "atelier.classify.walker",
                str(os.getpid()),
                msgspec.json.encode(order).decode(),
            ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            process_group=0,
        )
        try:
            if process.stdout is not None:
                async for line in process.stdout:
                    self._heard(msgspec.json.decode(line, type=Note))
            if await process.wait() or not self.walk.finished:
                raise WalkFailed(f"exit status {process.returncode}")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def _heard(self, note: Note) -> None:
        if note.count < self._journal.state.walk.position:
            raise JournalError(
                f"{self._journal.files.walk} has lost pictures that are done already: --restart"
            )
        if note.folder is not None:
            self.folders_unreadable += 1
            _log.warning(
                "folder %s cannot be read: %s", os.fsdecode(note.folder) or ".", note.reason
            )
        if note.finished:
            self._journal.state.folders_not_entered = note.left_out
        self.walk.tell(note.count, finished=note.finished)
