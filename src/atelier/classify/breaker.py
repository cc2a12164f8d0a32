"""A circuit breaker before the remote service: while it is open, pictures wait instead of failing.

Many failures in a row open it; then one request at a time probes whether the service is back. A
`Retry-After` of the service holds every request for that long. A service that is there and answers
the probes wrongly is another service: the run is given up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable

from atelier.retry import Backoff

FAILURES = 10
"""Failures in a row, across pictures, after which the service counts as down."""

WRONG_ANSWERS = 4
"""Wrong answers to probes in a row after which the run is given up: some seconds of them."""

LONGEST_REST = 3600.0
"""The longest Retry-After that is honoured, in seconds."""

_log = logging.getLogger(__name__)


class Drained(Exception):
    """The run is ending."""


class CircuitBreaker:
    """Call `enter` before each request, and report how the request went.

    `wrong_answers` of 0 never gives up. `given_up` says why a run was given up.
    """

    def __init__(
        self,
        first: float = 0.5,
        longest: float = 30.0,
        tell: Callable[[str], None] = _log.warning,
        *,
        wrong_answers: int = WRONG_ANSWERS,
    ) -> None:
        self.given_up = ""
        self._backoff = Backoff(first, longest)
        self._tell = tell
        self._wrong_answers = wrong_answers
        self._wrong = 0
        self._row = 0
        self._open = False
        self._permit = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._rest_until = 0.0
        self._drained = asyncio.Event()

    @property
    def draining(self) -> bool:
        """True if the run is ending."""
        return self._drained.is_set()

    @property
    def open(self) -> bool:
        """True while the service counts as down."""
        return self._open

    async def enter(self) -> bool:
        """Wait until a request may be made; true if it is the one that probes the service."""
        await self.sleep(self._rest_until - asyncio.get_running_loop().time())
        if not self._open or self._permit:
            self._permit = False
            return self._open
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn
        if self.draining:
            raise Drained
        return self._open

    async def sleep(self, seconds: float) -> None:
        """Wait; raises Drained if the run ends meanwhile."""
        if seconds > 0 and not self.draining:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._drained.wait()
        if self.draining:
            raise Drained

    def succeeded(self) -> None:
        """Report that the service answered."""
        self._row = 0
        self._backoff.reset()
        if self._open:
            self._open = self._permit = False
            self._wrong = 0
            self._tell("the service is back")
            self._release(len(self._waiting))

    def failed(self, reason: str, *, trying: bool, wrong: bool = False) -> bool:
        """Report a failed request; true if the service, not the picture, counts as the cause.

        `wrong` is an answer that is none. Only those to probes count towards giving up: many
        requests at once fail by one moment of a proxy's.
        """
        self._row += 1
        if self._open:
            if trying:
                self._wrong = self._wrong + 1 if wrong else 0
                if wrong and self._wrong == self._wrong_answers:
                    self._give_up(reason)
                else:
                    self._arm()
            return True
        if self._row >= FAILURES:
            self._open = True
            self._tell(f"the service is down ({reason}): waiting for it")
            self._arm()
        return self._open

    def rest(self, seconds: float, reason: str) -> None:
        """Hold all requests for as long as the service asked."""
        until = asyncio.get_running_loop().time() + min(max(seconds, 0.0), LONGEST_REST)
        if until > self._rest_until + 1:
            self._tell(f"the service asks for a rest of {seconds:.0f} s ({reason})")
        self._rest_until = max(self._rest_until, until)

    def abandon(self) -> None:
        """Let the next request probe: the one that did was cut off without a result."""
        if self._open:
            self._allow()

    def drain(self) -> None:
        """End the run: wake everything that waits."""
        self._drained.set()
        self._release(len(self._waiting))
        if self._timer:
            self._timer.cancel()

    def _give_up(self, reason: str) -> None:
        self.given_up = reason
        self._tell(f"the service answers wrongly ({reason}): giving up")
        self.drain()

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._backoff.next(), self._allow)

    def _allow(self) -> None:
        """Let one request through: one that waits, or else the next to arrive."""
        self._permit = not self._release(1)

    def _release(self, count: int) -> bool:
        while count and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                count -= 1
        return not count
