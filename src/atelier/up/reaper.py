"""A process that outlives a killed supervisor just long enough to end the children of its roles.

The kernel ends the roles themselves with their parent, but not what they started; each role is a
process group.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from atelier.up.engines.process import name_process

NAME = "atelier-guard"


class Reaper:
    """Knows the groups that live. Make it before any thread: it forks.

    It holds the lock of the data folder until it has done its work, so a next start finds nothing
    of the last one.
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
        """This group lives from now on."""
        self._tell(f"+{group}\n")

    def remove(self, group: int) -> None:
        """This group has ended."""
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """End it; every group that it still knows ends too."""
        os.close(self._writer)
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def _tell(self, line: str) -> None:
        with suppress(BrokenPipeError):  # somebody killed it: the roles themselves still follow us
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
