"""One run: prepare, measure each operation within its budget, and clean up in any case."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from atelier.classify.http_client import BadAnswer, Client, Endpoint
from atelier.observe.logs import Redactor
from benchmarks.capacity import arrivals, guard, machine, search, verdict, watch
from benchmarks.capacity.arrivals import Limits, Operation
from benchmarks.capacity.budget import Budget
from benchmarks.capacity.operations import Operations
from benchmarks.capacity.results import Machine, Measured, Report, Trial
from benchmarks.capacity.session import Session, Unwilling
from benchmarks.capacity.stock import Stock
from benchmarks.capacity.watch import Watch

WARM_SECONDS = 0.5
"""Seconds of a closed loop before a search: caches fill, and its rate is where to begin."""

WARM_CONNECTIONS = 16
SETTLE_SECONDS = 30.0
"""Time that the work a broken rate has left behind may take before the next trial."""

METRICS_SECONDS = 2.0
"""Time that an answer of /metrics may take; under load it is not waited for."""

IDLE_SECONDS = 5.0
"""Of a look at what the server does without requests, which is not their cost; CPU time comes in
ticks of 10 ms, so that a shorter look would see little."""

PAUSE_SECONDS = 0.2
"""Between two trials, for what has been cut off to end."""

FOLLOWED_START = 0.15
"""Share of the acknowledged rate at which an upload's ramp begins: rendering costs more."""


NOTICE = (
    "consumers of the instance's events hear of this: its books are in the catalogue until they "
    "are deleted, WatchBooks and "
    "subscribers are told of all that it makes, and ids go on behind it"
)
"""Nothing of this can be kept apart from an instance that others use."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The operator's options."""

    url: str
    operations: Sequence[str]
    limits: Limits
    seconds: float
    requests: int
    picture: bytes
    allow_remote: bool = False
    tell: Callable[[str], None] = print
    metrics: Sequence[str] = ()
    """Addresses that report queue lengths; the relay's own is found when it runs here."""


class Run:
    """Fills `report` as it goes, so that what was measured before an interruption is not lost."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._endpoint = Endpoint(plan.url)
        self._watch: Watch = watch.Watch(None)
        self._session = Session(plan.url)
        self.report: Report | None = None

    async def run(self) -> None:
        """Measure everything. Raises Refused and Unwilling; cancelled, it cleans up first."""
        plan = self._plan
        admitted = await guard.admit(self._endpoint, allow_remote=plan.allow_remote)
        plan.tell(NOTICE)
        plan.tell(f"measuring takes {plan.seconds:.0f} s; preparing and cleaning up come on top")
        self._watch = watch.Watch(self._endpoint.port if admitted.local else None)
        began = time.monotonic()
        self.report = Report(
            url=Redactor()(plan.url),
            version=admitted.version,
            began=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=0,
            p95_limit_ms=plan.limits.p95 * 1000,
            ready_limit_ms=plan.limits.ready * 1000,
            picture_bytes=len(plan.picture),
            machine=await self._machine(),
            operations=[],
        )
        try:
            async with self._signed_in() as stock:
                await stock.prepare(set(plan.operations))
                self.report.idle = await self._idle()
                measuring = time.monotonic()
                try:
                    await self._measure_all(Operations(self._session, stock), stock, self.report)
                finally:
                    self.report.measuring_seconds = round(time.monotonic() - measuring, 1)
        except asyncio.CancelledError:
            self.report.interrupted = True
            raise
        finally:
            self.report.seconds = round(time.monotonic() - began, 1)

    async def _machine(self) -> Machine:
        before = self._watch.sample()
        await asyncio.sleep(WARM_SECONDS)
        return machine.describe(self._watch, self._watch.between(before, self._watch.sample()))

    async def _idle(self) -> dict[str, float]:
        """Cores that the server uses for itself."""
        before = self._watch.sample()
        await asyncio.sleep(IDLE_SECONDS)
        return self._watch.between(before, self._watch.sample()).cores

    @contextlib.asynccontextmanager
    async def _signed_in(self) -> AsyncIterator[Stock]:
        stock = Stock(self._session, self._plan.picture)
        try:
            seconds = await self._session.open()
            staying = asyncio.create_task(self._session.stay(seconds))
            try:
                yield stock
            finally:
                staying.cancel()
                await asyncio.wait([staying])
        finally:
            await self._clean(stock)

    async def _clean(self, stock: Stock) -> None:
        session = self._session
        try:
            if await session.recall():
                self._plan.tell("cleaning up: deleting the throw-away user and its books")
                await stock.clean()
                await session.delete()
        except asyncio.CancelledError:
            self._plan.tell(f"stopped while cleaning up: {session.left()}")
            raise
        except Unwilling as error:
            raise Unwilling(f"{error.detail}; {session.left()}") from error
        finally:
            session.client.close()

    async def _measure_all(self, operations: Operations, stock: Stock, report: Report) -> None:
        end = time.monotonic() + self._plan.seconds
        requests = self._plan.requests
        for number, name in enumerate(self._plan.operations):
            left = len(self._plan.operations) - number
            operation = operations.by_name[name]
            budget = Budget((end - time.monotonic()) / left, min(requests // left, operation.most))
            granted = budget.requests
            report.operations.append(await self._measure(operation, stock, budget))
            requests -= granted - budget.requests

    async def _measure(self, operation: Operation, stock: Stock, budget: Budget) -> Measured:
        found = search.Found()
        made = Measured(
            operation.name, operation.about, found.trials, None, certain=False, saturated=[]
        )

        async def attempt(rate: float) -> Trial:
            seconds = budget.trial(rate)
            await asyncio.sleep(PAUSE_SECONDS)
            trial = await self._trial(operation, rate, seconds, len(found.trials), budget.requests)
            budget.requests -= trial.sent
            if not trial.sent:
                raise search.Exhausted("no request was due in the time that was left (--for)")
            self._plan.tell(line(operation.name, trial))
            if operation.pending:
                await stock.settled(
                    operation.pending, min(SETTLE_SECONDS, max(0.0, budget.time_left()))
                )
            return trial

        warm = await arrivals.closed(operation, WARM_SECONDS, WARM_CONNECTIONS, budget.requests)
        budget.requests -= warm.sent
        if not warm.answered:
            made.ended = f"none of {warm.sent} requests succeeded: {_counted(warm.statuses)}"
            self._plan.tell(f"{operation.name:12} {made.ended}")
            return made
        if operation.pending:
            await stock.settled(
                operation.pending, min(SETTLE_SECONDS, max(0.0, budget.time_left()))
            )
        share = FOLLOWED_START if operation.follower else search.START
        await search.find(attempt, warm.answered / WARM_SECONDS * share, found)
        made.knee, made.certain, made.ended = found.knee, found.certain, found.ended
        if above := found.above or (found.trials[-1] if found.trials else None):
            made.saturated = verdict.saturated(above, self._plan.limits.p95)
        return made

    async def _trial(
        self, operation: Operation, rate: float, seconds: float, seed: int, most: int
    ) -> Trial:
        before = self._watch.sample()
        trial = await arrivals.trial(operation, rate, seconds, self._plan.limits, seed, most)
        trial.usage = self._watch.between(before, self._watch.sample())
        trial.usage.queues = await self._queues()
        return trial

    async def _queues(self) -> dict[str, float]:
        """Queue lengths, where they are known."""
        found: dict[str, float] = {}
        for url in (*self._plan.metrics, *self._watch.metrics()):
            client = Client(Endpoint(url), METRICS_SECONDS)
            with contextlib.suppress(OSError, BadAnswer):
                answer = await client.send(
                    client.endpoint.request("GET", client.endpoint.path or "/")
                )
                found |= watch.backlog(answer.body)
            client.close()
        return found


def _counted(statuses: Counter[int | str]) -> str:
    return ", ".join(f"{count} x {status}" for status, count in statuses.most_common())


def line(name: str, trial: Trial) -> str:
    """One line about a trial, for the terminal."""
    latency, said = trial.latency, trial.broken or "holds"
    ready = (
        f", ready {trial.ready.per_second:.1f}/s p95 {trial.ready.latency.p95:.0f} ms"
        if trial.ready
        else ""
    )
    return (
        f"{name:12} {trial.rate:9.1f}/s for {trial.seconds:4.1f} s: {trial.achieved:9.1f}/s, "
        f"p50 {latency.p50:.1f} p95 {latency.p95:.1f} p99 {latency.p99:.1f} ms{ready}: {said}"
    )
