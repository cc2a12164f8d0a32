"""Retries: the `retry` decorator, and the pauses and log lines of an outage.

Knows nothing of the operations.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound="Callable[..., object]")

# A pause is at least this share of its length, so that many waiters do not come back together
JITTER = 0.5
CANCEL_AGAIN_SECONDS = 0.1


def retry(
    times: int = 3,
    delay: float = 1,
    exceptions: type[Exception] | tuple[type[Exception], ...] = Exception,
) -> Callable[[Function], Function]:
    """Call a function, or a coroutine function, up to `times` times, `delay` seconds apart.

    Errors that are not `exceptions` pass at once, and the last of those that are is raised;
    cancellation always passes. The decorated function keeps its signature, name and docstring.
    Raises ValueError when `times` is below 1 or `delay` below 0.
    """
    if times < 1:
        raise ValueError("times must be at least 1")
    if delay < 0:
        raise ValueError("delay must not be negative")

    def decorate(function: Function) -> Function:
        wrap = _coroutine_function if inspect.iscoroutinefunction(function) else _function
        return cast(
            "Function", wrap(cast("Callable[..., Any]", function), times, delay, exceptions)
        )

    return decorate


def _function(
    function: Callable[..., Any],
    times: int,
    delay: float,
    exceptions: type[Exception] | tuple[type[Exception], ...],
) -> Callable[..., Any]:
    @functools.wraps(function)
    def again(*args: object, **kwargs: object) -> object:
        for _ in range(times - 1):
            try:
                return function(*args, **kwargs)
            except exceptions:
                time.sleep(delay)
        return function(*args, **kwargs)

    return again


def _coroutine_function(
    function: Callable[..., Coroutine[Any, Any, Any]],
    times: int,
    delay: float,
    exceptions: type[Exception] | tuple[type[Exception], ...],
) -> Callable[..., Coroutine[Any, Any, Any]]:
    @functools.wraps(function)
    async def again(*args: object, **kwargs: object) -> object:
        for _ in range(times - 1):
            try:
                return await function(*args, **kwargs)
            except asyncio.CancelledError:
                raise
            except exceptions:
                await asyncio.sleep(delay)
        return await function(*args, **kwargs)

    return again


def pause(attempt: int, first: float, longest: float) -> float:
    """Return the seconds to wait after the `attempt`-th failure (from 1).

    They double from `first` to `longest`, less jitter.
    """
    # Beyond that every `longest` is reached, and a float would overflow in the end.
    doublings = min(attempt - 1, 32)
    return min(longest, first * 2.0**doublings) * random.uniform(JITTER, 1)


class Backoff:
    """The pauses between attempts in a row, in seconds, from `first` to `longest`."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self.failures = 0

    def next(self) -> float:
        """The pause after one more failure."""
        self.failures += 1
        return pause(self.failures, self._first, self._longest)

    def reset(self) -> None:
        """Begin with the first pause again: something has worked."""
        self.failures = 0


async def end(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks, again and again until they have ended.

    Once is not enough: a client may lose a cancellation that meets an arriving reply, or report
    it as an error of its own, after which a loop goes on.
    """
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)


class Outage:
    """The outage of a server: one log line at its start and end, growing pauses between tries."""

    FIRST = 0.05  # seconds; a restarting engine is back in a few tenths
    LONGEST = 2.0  # seconds

    def __init__(self, log: logging.Logger, server: str) -> None:
        self._log = log
        self._server = server
        self._backoff = Backoff(self.FIRST, self.LONGEST)

    async def failed(self, error: BaseException) -> None:
        """Note a failed try, and wait before the next."""
        if not self._backoff.failures:
            self._log.warning(
                "%s is unavailable, trying again: %s: %s",
                self._server,
                type(error).__name__,
                error,
            )
        await asyncio.sleep(self._backoff.next())

    def over(self) -> None:
        """Note that the server answers."""
        if self._backoff.failures:
            self._log.info("%s is back", self._server)
            self._backoff.reset()
