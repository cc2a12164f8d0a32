"""Ending an engine that outlived its instance: first asked to stop at once, then killed.

An engine inherits the lock of its folder, so it is found by the open file that holds the lock.
"""

from __future__ import annotations

import logging
import os
import signal
from contextlib import suppress
from pathlib import Path

log = logging.getLogger("atelier.up")

ORPHAN_SECONDS = 10  # an engine that has lost its supervisor has had its signal and this long
KILL_SECONDS = 20  # an engine that cannot even stop at once


class Eviction:
    """One wait for the lock of an engine's folder, whose starter is dead."""

    def __init__(self, lock: Path) -> None:
        self._lock = lock
        # SIGQUIT: PostgreSQL stops without a checkpoint even in the middle of crash recovery
        self._steps = [(ORPHAN_SECONDS, signal.SIGQUIT), (KILL_SECONDS, signal.SIGKILL)]

    def press(self, waited_seconds: float) -> None:
        """Do what is due after waiting that long; each step once."""
        while self._steps and waited_seconds >= self._steps[0][0]:
            _, number = self._steps.pop(0)
            pids = holders(self._lock)
            chosen = pids if number == signal.SIGKILL else _roots(pids)
            for pid in chosen:
                log.warning(
                    "process %d, an engine of an earlier instance, does not end; it gets %s",
                    pid,
                    number.name,
                )
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)


def holders(lock: Path) -> list[int]:
    """The processes that hold the lock on this file, in the order of their pids.

    Empty where the kernel does not tell: without /proc, or for other users' processes.
    """
    try:
        wanted = lock.stat()
    except OSError:
        return []
    pids = sorted(int(entry.name) for entry in _entries(Path("/proc")) if entry.name.isdecimal())
    return [pid for pid in pids if _holds(pid, wanted)]


def _holds(pid: int, wanted: os.stat_result) -> bool:
    for entry in _entries(Path(f"/proc/{pid}/fd")):
        with suppress(OSError, ValueError):
            found = entry.stat()
            if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                # Who waits for the lock has the file open, too
                return "FLOCK" in Path(f"/proc/{pid}/fdinfo/{entry.name}").read_text()
    return False


def _roots(pids: list[int]) -> list[int]:
    """Those whose parent is none of them: a server, not its own workers."""
    return [pid for pid in pids if _parent(pid) not in pids]


def _parent(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[1])


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
