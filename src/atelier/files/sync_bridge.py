"""Coroutines for threads without an event loop: a store is asynchronous, Django is not."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never has to wait."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise RuntimeError("it had to wait")


class SyncBridge:
    """One event loop in a thread of its own.

    It starts on first use, so that after a fork each child has one of its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._owner = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine that has to wait."""
        return asyncio.run_coroutine_threadsafe(work, self._running()).result()

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or self._owner != os.getpid():
            with self._lock:
                if self._loop is None or self._owner != os.getpid():
                    self._loop, self._owner = asyncio.new_event_loop(), os.getpid()
                    threading.Thread(
                        target=self._loop.run_forever, name="sync bridge", daemon=True
                    ).start()
        return self._loop
