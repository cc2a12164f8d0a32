"""How many uploads a process has in hand, so that everything else is answered meanwhile.

Knows no form and no slice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from atelier.errors import Unavailable
from atelier.observe.metrics import UPLOADS, UPLOADS_LIMIT, UPLOADS_REFUSED

# Uploads that are stored at once, once they have been received. Fewer than Django's threads and
# than the connections for reads, so that reads always find one.
AT_WORK = 6
RETRY_SECONDS = 2  # some tens of uploads are done by then
TOO_MANY = "Too many uploads are under way."


class Uploads:
    """The uploads of one process.

    As many as `limit` are received at once, for a slow client costs little but its place. Of those
    that have been received, `working` lets in a few at a time.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._admitted = 0
        self.working = asyncio.Semaphore(AT_WORK)
        UPLOADS.set_function(lambda: self._admitted)
        UPLOADS_LIMIT.set(limit)

    @property
    def is_full(self) -> bool:
        """Whether one more would be refused."""
        return self._admitted >= self._limit

    def refusal(self) -> Unavailable:
        """The error of one too many, which is counted."""
        UPLOADS_REFUSED.inc()
        return Unavailable(TOO_MANY, retry_after=RETRY_SECONDS)

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Hold a place for an upload, from before its body is read. Raises Unavailable."""
        if self.is_full:
            raise self.refusal()
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1
