"""Finds the knee: the highest rate that holds.

Knows nothing of requests, only trials that hold or break.

A ramp multiplies the rate until it breaks; then the gap between what held and what broke is
halved, in proportion. A machine that others use breaks a rate now and then by itself, so the first
break is not believed before it came twice.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from benchmarks.capacity.results import Trial

STEP = 1.6
"""Of the ramp: a trial's rate over the one before."""

DOWN = 3.0
"""By how much a rate is lowered while none has held."""

CLOSE = 1.06
"""The search is over when what broke is so close to what held."""

SLOWEST = 0.2
"""Requests a second below which nothing is tried."""

START = 0.3
"""Share of a closed loop's rate at which the ramp begins."""


@dataclass(slots=True)
class Found:
    """The rates that a search has tried so far."""

    trials: list[Trial] = field(default_factory=list)
    ended: str = ""
    """Why it ended before it was sure."""

    @property
    def broke(self) -> float:
        """The lowest rate that is believed to break."""
        return min(
            (rate for rate in self._rates(held=False) if rate > self.held), default=math.inf
        )

    @property
    def held(self) -> float:
        """The highest rate that held; zero when none did."""
        return max(self._rates(held=True), default=0.0)

    @property
    def knee(self) -> Trial | None:
        """The trial at that rate."""
        return next(
            (made for made in reversed(self.trials) if not made.broken and made.rate == self.held),
            None,
        )

    @property
    def above(self) -> Trial | None:
        """The trial that broke next to the knee."""
        return next(
            (made for made in reversed(self.trials) if made.broken and made.rate == self.broke),
            None,
        )

    @property
    def certain(self) -> bool:
        """True if the knee is between what held and what broke."""
        return self.held > 0 and self.broke < math.inf

    def _rates(self, *, held: bool) -> list[float]:
        return [made.rate for made in self.trials if (not made.broken) == held]


class Exhausted(Exception):
    """No further trial is allowed."""


async def find(attempt: Callable[[float], Awaitable[Trial]], first: float, found: Found) -> None:
    """Fill `found`, from the rate `first` on. `attempt` makes one trial, or raises Exhausted."""
    try:
        await _ramp(attempt, max(first, SLOWEST), found)
        while found.held and found.broke / found.held > CLOSE:
            found.trials.append(await attempt(math.sqrt(found.held * found.broke)))
    except Exhausted as reason:
        found.ended = str(reason)


async def _ramp(attempt: Callable[[float], Awaitable[Trial]], rate: float, found: Found) -> None:
    doubted = False
    while True:
        made = await attempt(rate)
        found.trials.append(made)
        if not made.broken:
            rate *= STEP
        elif found.held:
            if doubted:
                return
            doubted = True  # the same rate once more
        elif rate / DOWN < SLOWEST:
            return
        else:
            rate /= DOWN
        if found.held and found.broke < rate:
            return
