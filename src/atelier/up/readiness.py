"""Hears from the roles' processes that they are ready."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from atelier.observe.systemd import VARIABLE, ready_pid
from atelier.up.engines.errors import from_os_error
from atelier.up.engines.sockets import reachable

NAME = "notify.sock"
MESSAGE_BYTES = 4096  # of one datagram; ours have forty


class Readiness:
    """A socket in the data folder, on which each process says it."""

    def __init__(self, folder: Path) -> None:
        self._path = reachable(folder, NAME) / NAME
        self._inlet = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._inlet.settimeout(0)
        try:
            self._path.unlink(missing_ok=True)  # of an instance that was killed
            self._inlet.bind(str(self._path))
            self._path.chmod(0o600)
        except OSError as error:
            self._inlet.close()
            raise from_os_error(error, self._path) from error
        self.environment = {VARIABLE: str(self._path)}

    def listen(self, tell: Callable[[int], None]) -> None:
        """From now on `tell` the pid of each process that says it."""
        asyncio.get_running_loop().add_reader(self._inlet, self._read, tell)

    def close(self) -> None:
        """Stop listening and remove the socket."""
        asyncio.get_running_loop().remove_reader(self._inlet)
        self._inlet.close()
        self._path.unlink(missing_ok=True)

    def _read(self, tell: Callable[[int], None]) -> None:
        with suppress(BlockingIOError):
            pid = ready_pid(self._inlet.recv(MESSAGE_BYTES))
            if pid is not None:
                tell(pid)
