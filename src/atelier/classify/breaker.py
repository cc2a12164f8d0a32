"""A gate before the remote service, shut while the service is down or asks for a rest.

So pictures wait and do not fail. It is a circuit breaker: many failures in a row shut it, one
request at a time tries whether the service is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable

from atelier.retry import Backoff

FAILURES = 10
"""Failures in a row, of whatever pictures, after which the service is taken to be down."""

LONGEST_REST = 3600.0
"""Seconds that a Retry-After is believed for."""

_log = logging.getLogger(__name__)


class Drained(Exception):
    """The run is ending."""


class CircuitBreaker:
    """Pass it before each request (`enter`), and tell it how the request went."""

    def __init__(
        self, first: float = 0.5, longest: float = 30.0, tell: Callable[[str], None] = _log.warning
    ) -> None:
        self._backoff = Backoff(first, longest)
        self._tell = tell
        self._row = 0
        self._shut = False
        self._permit = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._rest_until = 0.0
        self._drained = asyncio.Event()

    @property
    def draining(self) -> bool:
        """Whether the run is ending."""
        return self._drained.is_set()

    @property
    def shut(self) -> bool:
        """Whether the service is taken to be down."""
        return self._shut

    async def enter(self) -> bool:
        """Wait until a request may be made; True for the one that tries whether the service is back."""
        await self.sleep(self._rest_until - asyncio.get_running_loop().time())
        if not self._shut or self._permit:
            self._permit = False
            return self._shut
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn
        if self.draining:
            raise Drained
        return self._shut

    async def sleep(self, seconds: float) -> None:
        """Wait, unless the run is ending: then Drained."""
        if seconds > 0 and not self.draining:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._drained.wait()
        if self.draining:
            raise Drained

    def succeeded(self) -> None:
        """The service does its work."""
        self._row = 0
        self._backoff.reset()
        if self._shut:
            self._shut = self._permit = False
            self._tell("the service is back")
            self._release(len(self._waiting))

    def failed(self, reason: str, *, trying: bool) -> bool:
        """A request failed; says whether the service, not the picture, is taken to be the cause."""
        self._row += 1
        if self._shut:
            if trying:
                self._arm()
            return True
        if self._row >= FAILURES:
            self._shut = True
            self._tell(f"the service is down ({reason}): waiting for it")
            self._arm()
        return self._shut

    def rest(self, seconds: float, reason: str) -> None:
        """The service asked for a rest: nobody enters meanwhile."""
        until = asyncio.get_running_loop().time() + min(max(seconds, 0.0), LONGEST_REST)
        if until > self._rest_until + 1:
            self._tell(f"the service asks for a rest of {seconds:.0f} s ({reason})")
        self._rest_until = max(self._rest_until, until)

    def abandon(self) -> None:
        """The request that was trying came to nothing: let the next one try."""
        if self._shut:
            self._allow()

    def drain(self) -> None:
        """The run is ending: whoever waits need not wait any more."""
        self._drained.set()
        self._release(len(self._waiting))
        if self._timer:
            self._timer.cancel()

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._backoff.next(), self._allow)

    def _allow(self) -> None:
        """Let one request through, or the next one that comes."""
        self._permit = not self._release(1)

    def _release(self, count: int) -> bool:
        while count and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                count -= 1
        return not count
