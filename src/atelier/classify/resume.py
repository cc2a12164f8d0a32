"""How far a source is done: everything up to a position, and a few pictures beyond it.

Its size does not grow with the number of pictures done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from atelier.classify.outcomes import Entry


class ResumePosition:
    """Pictures are opened in the source's order and done in any order.

    `position` is where the oldest unfinished picture begins: a resumed run starts there.
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
        """Note a picture taken from the source."""
        self._open.append((entry.n, entry.after))

    def done(self, n: int) -> None:
        """Note that a picture's line has been written."""
        self.ahead.add(n)
        # The position moves over every picture at the front that is done; a slow one holds it
        # back, and those behind it wait in `ahead`.
        while self._open and self._open[0][0] in self.ahead:
            number, self.position = self._open.popleft()
            self.ahead.discard(number)


def ranges(numbers: Collection[int]) -> list[tuple[int, int]]:
    """The numbers as sorted half-open ranges."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number:
            found[-1] = (found[-1][0], number + 1)
        else:
            found.append((number, number + 1))
    return found
