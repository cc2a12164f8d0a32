"""Load as from many independent people: requests at a rate, answered or not.

A latency counts from the moment at which its request should have left, so that a server that makes
the client wait cannot hide it (coordinated omission).
"""

from __future__ import annotations

import asyncio
import random
import time
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from atelier.classify.http_client import BadAnswer
from benchmarks.capacity.follow import Follower
from benchmarks.capacity.results import Ready, Trial, quantiles

CONNECTIONS = 256
"""Requests at once; more wait here, and their latency grows as in a queue of the server's."""

HOPELESS = 4
"""A trial ends early when something has waited this many times its limit."""

BATCH = 16
"""Requests that leave without a look at the answers, when the client is behind."""

ERROR_SHARE = 0.001
"""Requests that may fail before a rate counts as broken."""

SHORT = 0.95
"""A rate is also broken when less than this share was answered: a backlog grows."""

DRAIN_SHARE, DRAIN_SECONDS = 0.15, 0.5
"""A rate of uploads is also broken when the pipeline lags behind their arrival.

That is, when making all ready takes longer, after the last, than this share of the trial and than
so many seconds; a longer trial would have shown it by itself.
"""

WORDS = {429: "too many requests", 503: "service unavailable"}
"""Answers by which the instance says that it is too much."""

BACK_PRESSURE = "back-pressure"


UNBOUNDED = 10**9
"""More requests than any trial sends."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits within which a rate holds, in seconds."""

    p95: float
    ready: float


@dataclass(slots=True)
class Operation:
    """One kind of request.

    `fire` sends it and says its status; it is told the moment at which it should have left.
    """

    name: str
    about: str
    fire: Callable[[float], Awaitable[int]]
    good: frozenset[int] = frozenset((200,))
    follower: Follower | None = None
    pending: str = ""
    """Where a list is empty when all work is done that earlier requests have caused."""
    most: int = UNBOUNDED
    """Requests in a whole run: what is stored takes room."""


@dataclass(slots=True)
class Tally:
    """The outcome of a trial's requests."""

    good: frozenset[int]
    most: int
    latencies: array[float] = field(default_factory=lambda: array("d"))
    lags: array[float] = field(default_factory=lambda: array("d"))
    statuses: Counter[int | str] = field(default_factory=Counter)
    open: dict[int, float] = field(default_factory=dict)
    sent: int = 0

    def add(self, status: int | str, latency: float) -> None:
        """Count an answer, or a word for its absence."""
        self.statuses[status] += 1
        self.latencies.append(latency)

    @property
    def answered(self) -> int:
        """Good answers."""
        return sum(count for status, count in self.statuses.items() if status in self.good)

    @property
    def failed(self) -> int:
        """All others."""
        return self.statuses.total() - self.answered

    def oldest(self) -> float:
        """Seconds that the oldest request has been without an answer."""
        return time.monotonic() - next(iter(self.open.values())) if self.open else 0.0


async def trial(
    operation: Operation,
    rate: float,
    seconds: float,
    limits: Limits,
    seed: int = 0,
    most: int = UNBOUNDED,
) -> Trial:
    """Send `rate` requests a second for so many seconds, `most` at most, and return the trial."""
    tally = Tally(operation.good, most)
    async with _followed(operation.follower):
        began = time.monotonic()
        await _send(operation, tally, rate, seconds, limits, random.Random(seed))
        took = time.monotonic() - began
        ready = await _ready(operation.follower, began, limits)
    made = Trial(
        rate=rate,
        seconds=round(took, 3),
        sent=tally.sent,
        achieved=round(tally.answered / took, 2),
        latency=quantiles(tally.latencies),
        late=quantiles(tally.lags).p95,
        statuses={str(status): count for status, count in sorted(tally.statuses.items(), key=str)},
        failed=tally.failed,
        ready=ready,
    )
    made.broken = judge(made, limits, operation.follower.failed if operation.follower else 0)
    return made


async def closed(
    operation: Operation, seconds: float, connections: int, most: int = UNBOUNDED
) -> Tally:
    """The rate of so many connections that send without a pause: where a search may begin."""
    tally = Tally(operation.good, most)
    end = time.monotonic() + seconds

    async def loop() -> None:
        while time.monotonic() < end and tally.sent < most and tally.failed <= connections:
            await _one(operation, tally, asyncio.Semaphore(1), time.monotonic())

    await asyncio.gather(*(loop() for _ in range(connections)))
    return tally


def judge(made: Trial, limits: Limits, unprocessed: int = 0) -> str:
    """Why the rate is too much; empty when it is not."""
    return next(_complaints(made, limits, unprocessed), "")


def _complaints(made: Trial, limits: Limits, unprocessed: int) -> Iterator[str]:
    done = sum(made.statuses.values())
    refused = {
        status: made.statuses[str(status)] for status in WORDS if str(status) in made.statuses
    }
    if sum(refused.values()) > ERROR_SHARE * done:
        said = ", ".join(
            f"{count} x {status} {WORDS[status]}" for status, count in refused.items()
        )
        yield f"{BACK_PRESSURE}: {said}, of {done}"
    if made.failed > ERROR_SHARE * done:
        yield f"{made.failed} of {done} failed"
    if unprocessed:
        yield f"{unprocessed} uploads could not be processed"
    if made.latency.p95 > limits.p95 * 1000:
        yield f"p95 {made.latency.p95:.0f} ms"
    if made.achieved * made.seconds < SHORT * made.sent:
        yield f"only {made.achieved:.0f}/s answered"
    if made.ready and made.ready.latency.p95 > limits.ready * 1000:
        yield f"ready only after {made.ready.latency.p95 / 1000:.1f} s (p95)"
    if made.ready and made.ready.drain > max(DRAIN_SHARE * made.seconds, DRAIN_SECONDS):
        yield f"a backlog of {made.ready.waiting} grew"


@asynccontextmanager
async def _followed(follower: Follower | None) -> AsyncIterator[None]:
    if follower is None:
        yield
        return
    follower.reset()
    task = asyncio.create_task(follower.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _ready(follower: Follower | None, began: float, limits: Limits) -> Ready | None:
    """The outcome of uploads, if there were any.

    Whatever is not ready in time counts with the time that it has waited.
    """
    if follower is None:
        return None
    waiting, since = follower.waiting, time.monotonic()
    await follower.drained(HOPELESS * limits.ready)
    times = follower.times + [follower.oldest()] * follower.waiting
    if not times:
        return None
    drain = round(time.monotonic() - since, 3)
    return Ready(round(follower.per_second(began), 2), quantiles(times), waiting, drain)


async def _send(
    operation: Operation,
    tally: Tally,
    rate: float,
    seconds: float,
    limits: Limits,
    chance: random.Random,
) -> None:
    slots = asyncio.Semaphore(CONNECTIONS)
    tasks: set[asyncio.Task[None]] = set()
    moment = time.monotonic()
    end = moment + seconds
    try:
        for number in range(tally.most):
            moment += chance.expovariate(rate)
            early = moment - time.monotonic()
            if early > 0 or not number % BATCH:
                await asyncio.sleep(max(0.0, early))
            if moment > end or _hopeless(operation, tally, limits):
                break
            task = asyncio.create_task(_one(operation, tally, slots, moment))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if tasks:
            await asyncio.wait(tasks, timeout=HOPELESS * limits.p95)
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _hopeless(operation: Operation, tally: Tally, limits: Limits) -> bool:
    late = tally.oldest() > HOPELESS * limits.p95
    unready = (
        operation.follower is not None and operation.follower.oldest() > HOPELESS * limits.ready
    )
    return late or unready or tally.failed > max(20, 0.1 * tally.sent)


async def _one(
    operation: Operation, tally: Tally, slots: asyncio.Semaphore, moment: float
) -> None:
    tally.sent += 1
    number = tally.sent
    tally.open[number] = moment
    tally.lags.append(time.monotonic() - moment)
    status: int | str = "not answered in time"
    try:
        async with slots:
            status = await operation.fire(moment)
    except TimeoutError:
        pass
    except OSError as error:
        status = f"connection: {error.strerror or type(error).__name__}"
    except (BadAnswer, msgspec.MsgspecError):
        status = "not an answer"
    finally:
        del tally.open[number]
        tally.add(status, time.monotonic() - moment)
