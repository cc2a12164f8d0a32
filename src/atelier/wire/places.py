"""Places for work that must not be all of one client: so many in all, so many for each."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from atelier.errors import TooManyRequests

RETRY_SECONDS = 5  # suggested to who is refused


class Places:
    """Places that are taken until the work ends: `total` in all, `each` for one key.

    Threads may share them.
    """

    def __init__(
        self,
        what: str,
        *,
        each: int,
        total: int | None = None,
        on_refusal: Callable[[], None] | None = None,
    ) -> None:
        """`what` is the work, in the plural, as a sentence calls it."""
        self._what, self._each, self._total = what, each, total
        self._on_refusal = on_refusal
        self._of: Counter[Hashable] = Counter()
        self._taken = 0
        self._lock = threading.Lock()

    @contextmanager
    def place(self, key: Hashable) -> Iterator[None]:
        """A place while the body runs. Raises TooManyRequests if there is none."""
        with self._lock:
            self._take(key)
        try:
            yield
        finally:
            with self._lock:
                self._taken -= 1
                self._of[key] -= 1
                if not self._of[key]:
                    del self._of[key]

    def _take(self, key: Hashable) -> None:
        if self._of[key] >= self._each:
            self._refuse(f"At most {self._each} {self._what} may be open at once for one client.")
        if self._total is not None and self._taken >= self._total:
            self._refuse(f"At most {self._total} {self._what} may be open at once.")
        self._of[key] += 1
        self._taken += 1

    def _refuse(self, sentence: str) -> None:
        if self._on_refusal is not None:
            self._on_refusal()
        raise TooManyRequests(sentence, retry_after=RETRY_SECONDS)
