"""How long a run may take and how much it may send.

Each operation gets its share of what is left.
"""

from __future__ import annotations

import re
import time

from benchmarks.capacity.search import Exhausted

TRIALS = 11
"""Trials that a search takes as a rule; the time of an operation is shared among so many."""

SHORTEST, LONGEST = 0.5, 15.0
"""Seconds of a trial."""

LEAST_REQUESTS = 20
"""Fewer than this say nothing about a 95th percentile: at a low rate a trial takes longer."""

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)?")
_UNITS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """`90`, `90s`, `250ms`, `5m`, `1h`. Raises ValueError."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or not float(match[1]):
        raise ValueError(f"{text!r} is no duration: write 60s, 250ms, 5m")
    return float(match[1]) * _UNITS[match[2] or ""]


class Budget:
    """The time and requests that one operation may use."""

    def __init__(self, time_left: float, requests: int) -> None:
        self._end = time.monotonic() + time_left
        self._share = time_left / TRIALS
        self._begun = False
        self.requests = requests

    def time_left(self) -> float:
        """Seconds."""
        return self._end - time.monotonic()

    def trial(self, rate: float) -> float:
        """Seconds that a trial at this rate may last; the first is always allowed.

        Raises Exhausted.
        """
        left = self.time_left() if self._begun else max(self.time_left(), SHORTEST)
        self._begun = True
        wanted = min(max(self._share, LEAST_REQUESTS / rate, SHORTEST), LONGEST, max(left, 0.0))
        wanted = min(wanted, self.requests / rate)
        if left < SHORTEST:
            raise Exhausted("the time was used up (--for)")
        if wanted < SHORTEST and self.requests < max(LEAST_REQUESTS, rate * SHORTEST):
            raise Exhausted("the requests were used up (--requests)")
        return wanted
