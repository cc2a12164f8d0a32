"""Receives the readiness messages of the roles' processes."""

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
    """A socket in the data folder to which each process reports that it is ready."""

    def __init__(self, folder: Path) -> None:
        self._path = reachable(folder, NAME) / NAME
        self._inlet = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._inlet.settimeout(0)
        try:
            self._path.unlink(missing_ok=True)  # left by an instance that was killed
            self._inlet.bind(str(self._path))
            self._path.chmod(0o600)
        except OSError as error:
            self._inlet.close()
            raise from_os_error(error, self._path) from error
        self.environment = {VARIABLE: str(self._path)}

    def listen(self, tell: Callable[[int], None]) -> None:
        """Call `tell` with the pid of each process that reports from now on."""
        asyncio.get_running_loop().add_reader(self._inlet, self._read, tell)

    def close(self) -> None:
        """Close and remove the socket."""
        asyncio.get_running_loop().remove_reader(self._inlet)
        self._inlet.close()
        self._path.unlink(missing_ok=True)

    def _read(self, tell: Callable[[int], None]) -> None:
        with suppress(BlockingIOError):
            pid = ready_pid(self._inlet.recv(MESSAGE_BYTES))
            if pid is not None:
                tell(pid)
