"""Load at a rate: what a trial sees of a server that queues, stalls, refuses or fails."""

from __future__ import annotations

import asyncio
import re
import selectors
import time
from types import SimpleNamespace

import pytest

from benchmarks.capacity import arrivals, search, verdict
from benchmarks.capacity.arrivals import BACK_PRESSURE, Limits, Operation
from benchmarks.capacity.budget import Budget
from benchmarks.capacity.follow import Follower
from benchmarks.capacity.results import Ready, Trial, Usage
from benchmarks.capacity.run import Plan, Run, line
from benchmarks.capacity.session import Session
from benchmarks.capacity.stock import Stock
from tests.benchmarks.capacity.standin import StandIn, operation

LIMITS = Limits(p95=0.4, ready=1)


class Clock(selectors.DefaultSelector):
    """A clock that advances only while all tasks wait, so that other work is not measured."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Advance the clock instead of waiting, as an event loop's selector."""
        self.now += timeout or 0.0
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    """A loop on such a clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        super().__init__(self.clock)

    def time(self) -> float:
        """Its time."""
        return self.clock.now


@pytest.mark.parametrize("capacity", [20, 100, 300])
def test_the_knee_of_a_server_of_known_capacity(
    capacity: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of a given rate, one request at a time, is found to carry about that rate."""
    found, loop = search.Found(), Loop()
    monkeypatch.setattr(arrivals, "time", SimpleNamespace(monotonic=loop.time))
    queue = Queue(1 / capacity)
    asked = Operation("queue", "waits for its turn", queue.fire)

    async def attempt(rate: float) -> Trial:
        return await arrivals.trial(asked, rate, 10, LIMITS, len(found.trials))

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(search.find(attempt, capacity / 3, found))
    assert found.certain
    assert found.knee
    assert 0.8 * capacity <= found.knee.rate <= 1.1 * capacity
    assert found.above
    assert found.above.achieved <= 1.05 * capacity


class Queue:
    """Serves one request after the other, `service` seconds each."""

    def __init__(self, service: float) -> None:
        self.service, self.free = service, 0.0

    async def fire(self, _: float) -> int:
        """One request."""
        loop = asyncio.get_running_loop()
        self.free = max(self.free, loop.time()) + self.service
        await asyncio.sleep(self.free - loop.time())
        return 200


async def test_no_more_is_found_than_a_server_answers() -> None:
    """Over real sockets, no more requests count as answered than the server serves."""
    async with operation(StandIn(service=0.02)) as asked:
        made = await arrivals.trial(asked, 150, 1.0, LIMITS)
    assert made.broken
    assert made.achieved <= 60
    assert made.latency.p95 >= 400


async def test_requests_are_bounded() -> None:
    """A trial and a closed loop send as many requests as they may, and no more."""
    async with operation(StandIn()) as asked:
        made = await arrivals.trial(asked, 1000, 600, Limits(p95=600, ready=600), most=70)
        warm = await arrivals.closed(asked, 600, 4, 50)
    assert made.sent == 70
    assert 50 <= warm.sent < 54


async def test_a_stall_is_not_hidden() -> None:
    """Requests due during a stall count from when they were due (no coordinated omission)."""
    server = StandIn()
    async with operation(server) as asked:
        server.free = asyncio.get_running_loop().time() + 0.6
        made = await arrivals.trial(asked, 200, 1.0, Limits(600, 600))
    assert made.latency.p95 >= 400
    assert made.sent >= 100
    assert made.statuses == {"200": made.sent}


@pytest.mark.parametrize("status", [429, 503])
async def test_refusals_are_back_pressure(status: int) -> None:
    """429 and 503 break a rate, as back-pressure."""
    async with operation(StandIn(answer=lambda _: (status, b"{}"))) as asked:
        made = await arrivals.trial(asked, 100, 0.5, LIMITS)
    assert made.broken.startswith(BACK_PRESSURE)
    assert str(status) in made.broken
    assert verdict.saturated(made, 0.4)[-1] == made.broken


async def test_errors_break_a_rate_early() -> None:
    """When everything fails, the trial ends long before its time."""
    async with operation(StandIn(answer=lambda _: (500, b""))) as asked:
        made = await arrivals.trial(asked, 200, 600, LIMITS)
    assert "failed" in made.broken
    assert made.statuses == {"500": made.sent}


async def test_a_refused_connection_is_a_counted_error() -> None:
    """A connection that is refused is an error of the request, not of the tool."""
    async with operation(StandIn()) as asked:
        pass
    made = await arrivals.trial(asked, 50, 0.3, LIMITS)
    assert made.failed == made.sent > 0
    assert any(status.startswith("connection") for status in made.statuses)


async def test_what_did_not_come_is_not_ready() -> None:
    """Of a blend in which no upload came nothing is said of readiness."""
    async with operation(StandIn()) as asked:
        asked.follower = Follower(Session("http://127.0.0.1:1"), str, lambda _: "ready")
        made = await arrivals.trial(asked, 100, 0.3, LIMITS)
    assert made.sent
    assert made.ready is None
    assert "ready" not in line("mix", made)


async def test_an_operation_that_always_fails_is_not_searched() -> None:
    """When no request succeeds no rate is tried: the answers are told, and no figures."""
    said: list[str] = []
    async with operation(StandIn(answer=lambda _: (422, b""))) as asked:
        plan = Plan("http://127.0.0.1:1", ["stand-in"], LIMITS, 60, 1000, b"", tell=said.append)
        stock = Stock(Session(plan.url), b"")
        made = await Run(plan)._measure(asked, stock, Budget(60, 1000))
    assert (made.trials, made.knee) == ([], None)
    assert re.fullmatch(r"none of (\d+) requests succeeded: \1 x 422", made.ended)
    assert made.ended in said[0]


async def test_a_client_that_is_behind_says_so() -> None:
    """When requests leave late because the client is busy, the verdict is the client."""

    async def busy(_: float) -> int:
        time.sleep(0.03)
        return 200

    made = await arrivals.trial(Operation("busy", "holds the loop", busy), 100, 1.0, LIMITS)
    assert made.late >= 100
    assert "client itself" in verdict.saturated(made, 0.4)[0]


def test_what_was_saturated_is_named() -> None:
    """A process at one core, a full disk and a full machine each have a verdict with advice."""
    made = Trial(
        100, 1, 100, 60, arrivals.quantiles([1.0]), 0, {"200": 60}, 0, broken="p95 1000 ms"
    )
    made.usage = Usage(
        cores={"api": 0.97}, busiest={"api": 0.97}, client=0.1, machine=0.5, disk=0.95, allowed=2
    )
    said = " ".join(verdict.saturated(made, 0.25))
    assert "`api`: one process used 0.97 of a core" in said
    assert "api_workers" in said
    assert "disk" in said
    made.usage = Usage(
        cores={"api": 1.0, "postgres": 0.6}, client=0.3, machine=0.98, allowed=2, others=0.6
    )
    said = " ".join(verdict.saturated(made, 0.25))
    assert "all cores of the machine" in said
    assert "other programs 0.60" in said
    made.usage = Usage()
    assert "nothing that can be seen" in verdict.saturated(made, 0.25)[0]


@pytest.mark.parametrize(
    ("drain", "broken"), [(0.4, ""), (1.4, ""), (1.6, "a backlog of 30 grew")]
)
def test_a_growing_backlog_breaks_a_rate(drain: float, broken: str) -> None:
    """Uploads within every limit are too many when the pipeline lags long behind the last."""
    fine = arrivals.quantiles([0.1])
    made = Trial(20, 10, 200, 20, fine, 0, {"201": 200}, 0, Ready(18, fine, 30, drain))
    assert arrivals.judge(made, LIMITS) == broken
