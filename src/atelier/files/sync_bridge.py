"""Lets threads call coroutines: blobs are asynchronous, views and jobs are not."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class SyncBridge:
    """One event loop in a thread of its own.

    It starts on first use, so that after a fork each child has one of its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._owner = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine, for a thread that has no event loop."""
        return asyncio.run_coroutine_threadsafe(work, self._running()).result()

    def close(self) -> None:
        """Stop the loop; another `run` starts a new one."""
        with self._lock:
            if self._loop is not None and self._owner == os.getpid():
                self._loop.call_soon_threadsafe(self._loop.stop)
            self._loop = None

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or self._owner != os.getpid():
            with self._lock:
                if self._loop is None or self._owner != os.getpid():
                    self._loop, self._owner = _started(), os.getpid()
        return self._loop


def _started() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=_serve, args=(loop,), name="sync-bridge", daemon=True).start()
    return loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()
