"""A process that outlives a killed supervisor to end the children of its roles.

The kernel ends the roles themselves with their parent, but not their children; each role is a
process group.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from atelier.up.engines.process import name_process

NAME = "atelier-guard"


class Reaper:
    """Keeps track of the live process groups. Create it before any thread: it forks.

    It holds the lock of the data folder until its work is done, so the next start finds no
    leftover of the last.
    """

    def __init__(self) -> None:
        reader, self._writer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.close(self._writer)
                os.setsid()  # Ctrl-C in a terminal is not for it
                name_process(NAME)
                _watch(reader)
            finally:
                os._exit(0)
        os.close(reader)

    def add(self, group: int) -> None:
        """Add a process group that has started."""
        self._tell(f"+{group}\n")

    def remove(self, group: int) -> None:
        """Remove a process group that has ended."""
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """End the process; it kills every group that it still knows."""
        os.close(self._writer)
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def _tell(self, line: str) -> None:
        with suppress(BrokenPipeError):  # it was killed: the roles themselves still die with us
            os.write(self._writer, line.encode())


def _watch(reader: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    with os.fdopen(reader) as lines:
        for line in lines:
            (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
