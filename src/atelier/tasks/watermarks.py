"""Where a hand-out starts to look for a free task, so that it skips those taken before.

Taken tasks stay in the index until the next vacuum; at thousands of takes per second, stepping
over them soon costs more than the take. Knows no database: it remembers for a moment, in one
process, how far the search has come.
"""

from __future__ import annotations

import time
from collections.abc import Hashable

# After this one take searches from the beginning again: a task given back waits no longer.
LIFE_SECONDS = 0.25
POOLS = 10_000  # remembered at once; beyond, all are forgotten


class Watermarks:
    """For each pool the last task taken, below which none was free, for a moment."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[int, float]] = {}

    def get(self, pool: Hashable) -> int:
        """The id above which to search; 0 is the beginning."""
        task_id, until = self._known.get(pool, (0, 0.0))
        return task_id if time.monotonic() < until else 0

    def taken(self, pool: Hashable, task_id: int, above: int) -> None:
        """Note a task that was found by searching above an id."""
        if above == 0:
            if len(self._known) >= POOLS:
                self._known.clear()
            self._known[pool] = task_id, time.monotonic() + LIFE_SECONDS
        elif (known := self._known.get(pool)) and known[0] < task_id:
            # The time of the search from the beginning stays: only such a search renews it.
            self._known[pool] = task_id, known[1]

    def forget(self, pool: Hashable) -> None:
        """Search from the beginning next time: a task was given back, or none was found."""
        self._known.pop(pool, None)
