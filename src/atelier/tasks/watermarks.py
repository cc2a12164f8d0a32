"""From which task on a hand-out looks for a free one, so that it need not step over all that were taken before.

What was taken stays in the index until the next vacuum; at thousands of takes per second, stepping
over that soon costs more than the take. Knows no database: it remembers, for a moment and in one
process, how far looking got.
"""

from __future__ import annotations

import time

# Then one take looks from the beginning again: what was given back waits no longer than that
LIFE_SECONDS = 0.25
OWNERS = 10_000  # remembered at once; beyond, all are forgotten and learnt anew


class Watermarks:
    """For each owner the task up to which nothing was free when last looked from the beginning, for a moment."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, float]] = {}

    def get(self, owner_id: int) -> int:
        """Look for ids above this one; 0 is the beginning."""
        task_id, until = self._known.get(owner_id, (0, 0.0))
        return task_id if time.monotonic() < until else 0

    def taken(self, owner_id: int, task_id: int, above: int) -> None:
        """A task was found by looking above an id."""
        if above == 0:
            if len(self._known) >= OWNERS:
                self._known.clear()
            self._known[owner_id] = task_id, time.monotonic() + LIFE_SECONDS
        elif (known := self._known.get(owner_id)) and known[0] < task_id:
            self._known[owner_id] = task_id, known[1]

    def forget(self, owner_id: int) -> None:
        """Look from the beginning next time: something was given back, or nothing was found."""
        self._known.pop(owner_id, None)
