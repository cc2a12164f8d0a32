"""How far a source of pictures is done: all up to a position, and a few beyond it.

Small, however many are done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from atelier.classify.outcomes import Entry


class ResumePosition:
    """Pictures are opened in the source's order, done in any order.

    `position` follows the oldest that is not done.
    """

    def __init__(self, position: int) -> None:
        self.position = position
        self._open: deque[tuple[int, int]] = deque()
        self.ahead: set[int] = set()
        """Numbers done beyond the position."""

    def __len__(self) -> int:
        """Pictures opened beyond the position."""
        return len(self._open)

    def open(self, entry: Entry) -> None:
        """A picture has been taken from the source."""
        self._open.append((entry.n, entry.after))

    def done(self, n: int) -> None:
        """A picture's line has been written."""
        self.ahead.add(n)
        while self._open and self._open[0][0] in self.ahead:
            number, self.position = self._open.popleft()
            self.ahead.discard(number)


def ranges(numbers: Collection[int]) -> list[tuple[int, int]]:
    """Numbers as sorted ranges (first, behind the last)."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number:
            found[-1] = (found[-1][0], number + 1)
        else:
            found.append((number, number + 1))
    return found
