"""Waiting in tests: they go on as soon as a condition holds, and give up only when it never will.

The time limit is never part of what a test proves: a machine ten times slower than usual stays
within it.
"""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from atelier.up.engines.process import start_time

T = TypeVar("T")
Condition = Callable[[], T | Awaitable[T]]

PATIENCE_SECONDS = 180.0  # until a test gives up, and until a program that it runs must have ended
POLL_SECONDS = 0.01


def until(condition: Callable[[], T], otherwise: object = "it did not happen") -> T:
    """Wait in a thread; the first true value of `condition`.

    Raises AssertionError with `otherwise`, or with what it returns when it can be called.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, otherwise() if callable(otherwise) else otherwise
        time.sleep(POLL_SECONDS)
    return found


async def eventually(condition: Condition[T], otherwise: object = "it did not happen") -> T:
    """Wait in a coroutine; the first true value of `condition`, which may be a coroutine function.

    Raises AssertionError like `until`.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        value = condition()
        found: T = await value if inspect.isawaitable(value) else value
        if found:
            return found
        assert time.monotonic() < deadline, otherwise() if callable(otherwise) else otherwise
        await asyncio.sleep(POLL_SECONDS)


def finished(command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, whatever its exit code; what it printed, as text."""
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS, **options
    )


def gone(*pids: int) -> None:
    """Wait until none of the processes lives; a zombie does not."""
    until(lambda: not [pid for pid in pids if start_time(pid)], "some processes live on")


def patience() -> asyncio.Timeout:
    """A context that gives up with TimeoutError on what is awaited inside."""
    return asyncio.timeout(PATIENCE_SECONDS)
