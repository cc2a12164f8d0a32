"""Progress of a run on standard error: a bar on a terminal, elsewhere log lines."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

BAR_SECONDS = 0.25
RATE_SECONDS = 60.0
"""Seconds over which the rate, and from it the time left, is averaged."""

_log = logging.getLogger(__name__)


class View:
    """The figures to show at one moment."""

    def __init__(
        self, done: int, failed: int, found: int, *, walking: bool, waiting: bool
    ) -> None:
        self.done = done
        self.failed = failed
        self.found = found
        self.walking = walking
        self.waiting = waiting


class Rate:
    """Pictures per second over the last `RATE_SECONDS`."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def update(self, done: int) -> float:
        """Note the number done by now; returns the rate."""
        now = time.monotonic()
        self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[0][0] < now - RATE_SECONDS:
            self._seen.popleft()
        elapsed = now - self._seen[0][0]
        return (done - self._seen[0][1]) / elapsed if elapsed else 0.0


def describe(view: View, rate: float) -> str:
    """One line: done, rate, failures, time left."""
    total = f"at least {view.found:,}, still walking" if view.walking else f"{view.found:,}"
    left = "waiting for the service" if view.waiting else _left(view, rate)
    return f"{view.done:,} of {total}; {rate:,.1f} files/s; {view.failed:,} failed; {left}"


def _left(view: View, rate: float) -> str:
    if not rate:
        return "time left unknown"
    seconds = round((view.found - view.done) / rate)
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    least = "at least " if view.walking else ""
    return f"{least}{hours}:{minutes:02}:{seconds % 60:02} left"


async def show(look: Callable[[], View], console: Console, seconds: float) -> None:
    """Show progress until cancelled: a bar on a terminal, else a line every `seconds`."""
    if console.is_terminal:
        await _bar(look, console)
    else:
        await _lines(look, seconds)


async def _lines(look: Callable[[], View], seconds: float) -> None:
    rate = Rate()
    rate.update(look().done)
    while True:
        await asyncio.sleep(seconds)
        view = look()
        _log.info("%s", describe(view, rate.update(view.done)))


async def _bar(look: Callable[[], View], console: Console) -> None:
    from rich.progress import BarColumn, Progress, TextColumn

    rate = Rate()
    columns = (BarColumn(), TextColumn("{task.fields[text]}"))
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as progress:
        bar = progress.add_task("", total=None, text="")
        while True:
            view = look()
            total = None if view.walking else view.found
            progress.update(
                bar, completed=view.done, total=total, text=describe(view, rate.update(view.done))
            )
            progress.refresh()
            await asyncio.sleep(BAR_SECONDS)
