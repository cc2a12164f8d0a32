"""A measurement as plain data: the JSON report is these structures; pages are made from it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec


class Quantiles(msgspec.Struct):
    """Of latencies, in milliseconds."""

    p50: float
    p95: float
    p99: float


class Ready(msgspec.Struct):
    """Uploads whose end was awaited: how many a second, and seconds since the first byte."""

    per_second: float
    latency: Quantiles
    waiting: int
    """Uploads that were acknowledged and not ready when the last one had been answered."""
    drain: float = 0.0
    """Seconds from then until all were ready: a backlog that stays level is worked off at once."""


class Usage(msgspec.Struct):
    """CPU and disk use during a trial."""

    seconds: float = 0.0
    """From the first request until the trial's work was done, as far as it was waited for."""
    cores: dict[str, float] = {}
    """Of the server, by role: cores in use on average."""
    busiest: dict[str, float] = {}
    """By role: cores used by its busiest process. A process of Python's uses about one at most."""
    client: float = 0.0
    """Cores used by this tool."""
    machine: float | None = None
    """Share of all cores that was busy, in any process."""
    disk: float | None = None
    """Share of the time in which the busiest disk had work."""
    allowed: int | None = None
    """Cores that the server may use."""
    queues: dict[str, float] = {}
    """Jobs outstanding by queue at the end, where /metrics says so."""
    others: float = 0.0
    """Cores used by other programs; zero when the server cannot be seen."""


class Trial(msgspec.Struct):
    """One rate, kept up for some seconds."""

    rate: float
    """Requests a second that were asked for."""
    seconds: float
    sent: int
    achieved: float
    """Good answers a second."""
    latency: Quantiles
    late: float
    """Milliseconds by which 95 % of the requests left late, at most: the client's own delay."""
    statuses: dict[str, int]
    """Answers by status; what is no answer by a word."""
    failed: int
    ready: Ready | None = None
    broken: str = ""
    """Why the rate is too much; empty when it held."""
    usage: Usage = msgspec.field(default_factory=Usage)

    def cost_ms(self, idle: dict[str, float]) -> dict[str, float]:
        """CPU milliseconds of the server per good answer, by role, above `idle`.

        Empty when its processes could not be seen.
        """
        answered = self.achieved * self.seconds
        spent = {
            role: max(0.0, cores - idle.get(role, 0.0)) for role, cores in self.usage.cores.items()
        }
        return {
            role: 1000 * cores * self.usage.seconds / answered
            for role, cores in spent.items()
            if answered
        }


class Measured(msgspec.Struct):
    """An operation."""

    name: str
    about: str
    trials: list[Trial]
    knee: Trial | None
    """The highest rate that held; none when none did."""
    certain: bool
    """True if a rate just above was seen to break: otherwise the knee is at least this."""
    saturated: list[str]
    """The resource at its limit where the rate broke."""
    ended: str = ""
    """Why the search ended early."""

    @property
    def above(self) -> Trial | None:
        """The trial that broke next above the knee; of several at one rate, the last."""
        held = self.knee.rate if self.knee else 0.0
        broken = [trial for trial in self.trials if trial.broken and trial.rate > held]
        return min(reversed(broken), key=lambda trial: trial.rate, default=None)


class Machine(msgspec.Struct):
    """Where the client ran; the server too, when it is local."""

    cores: int
    model: str
    memory_gib: float
    kernel: str
    python: str
    packages: dict[str, str]
    busy_before: float | None
    """Share of all cores that was busy before the first request."""
    processes: dict[str, int]
    """The server's processes by role, as far as they can be seen."""
    settings: dict[str, str]
    """The choices of the server's environment that matter here."""


class Report(msgspec.Struct):
    """A whole run."""

    url: str
    version: str
    began: str
    seconds: float
    p95_limit_ms: float
    ready_limit_ms: float
    picture_bytes: int
    machine: Machine
    operations: list[Measured]
    idle: dict[str, float] = {}
    """Cores that the server's roles use without requests."""
    interrupted: bool = False
    measuring_seconds: float = 0.0
    """Of `seconds`, those in which operations were measured; the others are set-up and cleanup."""


def quantiles(seconds: Sequence[float]) -> Quantiles:
    """Nearest-rank quantiles, in milliseconds; of nothing they are zero."""
    ordered = sorted(seconds)
    return Quantiles(*(round(1000 * _rank(ordered, share), 3) for share in (0.5, 0.95, 0.99)))


def _rank(ordered: Sequence[float], share: float) -> float:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
