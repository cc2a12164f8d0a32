"""How many calls may be open at once: for services without a token, and for one user.

The server's own limit counts all calls alike, so that whoever opens enough of them would lock
everybody out. Knows no service.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from atelier.errors import TooManyRequests
from atelier.observe.metrics import CALLS_REFUSED

# Of health and reflection, in one process. Health checkers keep one stream for each target.
OPEN_STREAMS, OPEN_STREAMS_OF_CLIENT = 64, 8
# Their other calls end at once, except where the message is late.
OPEN_CALLS, OPEN_CALLS_OF_CLIENT = 512, 32
# Of one user, beside the streams: a quarter of all.
USER_CALLS = 1_000
RETRY_SECONDS = 5


class Places:
    """Places that calls take until they end: `total` in all, `each` for one key."""

    def __init__(self, name: str, what: str, *, each: int, total: int | None = None) -> None:
        """`name` is the metric's label; `what` are the calls, in a sentence."""
        self._what, self._each, self._total = what, each, total
        self._refused = CALLS_REFUSED.labels(name)
        self._of: Counter[Hashable] = Counter()
        self._taken = 0

    @contextmanager
    def place(self, key: Hashable) -> Iterator[None]:
        """A place while the body runs. Raises TooManyRequests if there is none."""
        if self._of[key] >= self._each:
            self._refuse(f"At most {self._each} {self._what} may be open at once for one client.")
        if self._total is not None and self._taken >= self._total:
            self._refuse(f"At most {self._total} {self._what} may be open at once.")
        self._of[key] += 1
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
            self._of[key] -= 1
            if not self._of[key]:
                del self._of[key]

    def _refuse(self, sentence: str) -> None:
        self._refused.inc()
        raise TooManyRequests(sentence, retry_after=RETRY_SECONDS)
