"""One worker on a queue: reads ahead, runs handlers side by side, retries, acknowledges.

Knows no callers: they learn of a job that is given up by `on_dead`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from atelier.errors import AtelierError, Unavailable
from atelier.observe.health import pulse
from atelier.observe.metrics import DELIVERIES, JOB_SECONDS, JOBS
from atelier.queue.group import Entry, Group, Postponed
from atelier.queue.reader import TROUBLE, Reader
from atelier.retry import end, pause

log = logging.getLogger("atelier.queue")

Job = Entry
BatchHandler = Callable[[list[Job]], Awaitable[None]]
OnDead = Callable[[Job, str], Awaitable[None]]

OUTCOMES = ("done", "retried", "put-off", "dead")
DRAIN_LIMIT = 5.0  # seconds for the last acknowledgements when the engine does not answer


class Reject(Exception):
    """Raised by a handler for a job that no further attempt can repair."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Terms:
    """How a worker takes jobs and handles failures. Times in seconds."""

    consumer: str
    read_ahead: int
    at_once: int
    concurrency: int
    attempts: int
    backoff: float
    dead: str
    dead_limit: int


class Consumer:
    """Runs `handler` on lists of at most `at_once` jobs, in `concurrency` runners."""

    def __init__(
        self, group: Group, terms: Terms, handler: BatchHandler, on_dead: OnDead | None
    ) -> None:
        self._group = group
        self._terms = terms
        self._handler = handler
        self._on_dead = on_dead
        self._reader = Reader(group, terms.consumer, terms.read_ahead)
        self._ready: asyncio.Queue[list[Job] | None] = asyncio.Queue()
        self._done: list[str] = []
        self._acks_due = asyncio.Event()
        for outcome in OUTCOMES:  # so that the first of each is an increase
            JOBS.labels(group.stream, outcome)
        self._idle = 0
        self._hungry = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Take jobs until `stop`; then finish the running ones and give the others back."""
        refund = False
        try:
            async with asyncio.TaskGroup() as tasks:
                background = [
                    tasks.create_task(self._acknowledge()),
                    tasks.create_task(self._reader.keep()),
                ]
                feed = tasks.create_task(self._feed())
                runners = [tasks.create_task(self._work()) for _ in range(self._terms.concurrency)]
                await stop.wait()
                await self._stop_reading(feed)
                for _ in runners:
                    self._ready.put_nowait(None)
                await asyncio.wait(runners)
                await end(*background)
            refund = True  # entries still held were delivered but never seen
        finally:
            await self._leave(refund=refund)

    # Taking

    async def _feed(self) -> None:
        while True:
            # Read only for idle runners: jobs that wait here could run in another process.
            while self._idle <= self._ready.qsize():
                self._hungry.clear()
                await self._hungry.wait()
            jobs = await self._reader.take()
            pulse.beat(self._group.stream)
            for start in range(0, len(jobs), self._terms.at_once):
                self._ready.put_nowait(jobs[start : start + self._terms.at_once])

    # Working

    async def _work(self) -> None:
        while True:
            self._idle += 1
            self._hungry.set()
            jobs = await self._ready.get()
            self._idle -= 1
            if jobs is None:
                return
            await self._run(jobs)
            pulse.beat(self._group.stream)

    async def _run(self, jobs: list[Job]) -> None:
        DELIVERIES.labels(self._group.stream).inc(len(jobs))
        fresh = [job for job in jobs if job.deliveries <= self._terms.attempts]
        for job in jobs:
            if job.deliveries > self._terms.attempts:
                await self._bury(job, f"lost: its worker died in {job.deliveries - 1} attempts")
        if not fresh:
            return
        try:
            with JOB_SECONDS.labels(self._group.stream).time():
                await self._handler(fresh)
        except Exception as error:
            await self._failed(fresh, error)
        else:
            JOBS.labels(self._group.stream, "done").inc(len(fresh))
            self._finish(fresh)

    async def _failed(self, jobs: list[Job], error: Exception) -> None:
        if isinstance(error, Unavailable):
            JOBS.labels(self._group.stream, "put-off").inc(len(jobs))
            for job in jobs:
                await self._again(
                    job, error.retry_after or self._terms.backoff, job.deliveries - 1, error
                )
        elif len(jobs) > 1:
            log.warning(
                "a batch of %d jobs failed (%s); trying them one by one",
                len(jobs),
                type(error).__name__,
            )
            for job in jobs:
                await self._run([job])
        else:
            await self._failed_alone(jobs[0], error)

    async def _failed_alone(self, job: Job, error: Exception) -> None:
        if isinstance(error, Reject):
            await self._bury(job, error.reason)
        elif job.deliveries >= self._terms.attempts:
            log.error("job %s of %s failed for good", job.id, self._group.stream, exc_info=error)
            await self._bury(job, _reason(error))
        else:
            delay = pause(job.deliveries, self._terms.backoff, self._group.lease)
            JOBS.labels(self._group.stream, "retried").inc()
            await self._again(job, delay, job.deliveries, error)

    async def _again(self, job: Job, delay: float, deliveries: int, error: Exception) -> None:
        log.warning(
            "job %s of %s failed in attempt %d, again in %.1f s: %s",
            job.id, self._group.stream, job.deliveries, delay, _reason(error),
        )  # fmt: skip
        await self._reader.put_off([Postponed(job.id, delay, deliveries)])

    async def _bury(self, job: Job, reason: str) -> None:
        try:
            if self._on_dead is not None:
                await self._on_dead(job, reason)
            await self._group.bury(job, self._terms.dead, reason, self._terms.dead_limit)
        except Exception as error:
            await self._again(
                job,
                pause(job.deliveries, self._terms.backoff, self._group.lease),
                job.deliveries,
                error,
            )
        else:
            JOBS.labels(self._group.stream, "dead").inc()
            # Only now: without heartbeats the entry could be delivered to another worker.
            self._reader.held.discard(job.id)
            log.warning("job %s of %s is a dead letter: %s", job.id, self._group.stream, reason)

    # Acknowledging and keeping

    def _finish(self, jobs: list[Job]) -> None:
        self._done += [job.id for job in jobs]
        self._acks_due.set()

    async def _acknowledge(self) -> None:
        while True:
            await self._acks_due.wait()
            self._acks_due.clear()
            try:
                await self._flush()
            except TROUBLE as error:
                await self._reader.outage.failed(error)
                self._acks_due.set()

    async def _flush(self) -> None:
        ids, self._done = self._done, []
        try:
            await self._group.finish(ids)
        except BaseException:
            # Acknowledged later, or by `_leave`: until then the entries stay held.
            self._done += ids
            raise
        self._reader.held.difference_update(ids)

    # Leaving

    async def _stop_reading(self, feed: asyncio.Task[None]) -> None:
        await end(feed)
        unstarted: list[Job] = []
        while not self._ready.empty():
            unstarted += self._ready.get_nowait() or ()
        if unstarted:
            await self._reader.put_off(
                [Postponed(job.id, 0, job.deliveries - 1) for job in unstarted]
            )

    async def _leave(self, *, refund: bool) -> None:
        try:
            async with asyncio.timeout(DRAIN_LIMIT):
                if self._done:
                    await self._flush()
                await self._reader.leave(refund=refund)
        except TROUBLE as error:
            log.warning(
                "%d jobs of %s not acknowledged; they come again: %s",
                len(self._done),
                self._group.stream,
                error,
            )


def _reason(error: Exception) -> str:
    if isinstance(error, AtelierError):
        return f"{error.slug}: {error.detail}"
    return f"failed: {type(error).__name__}: {error}"
