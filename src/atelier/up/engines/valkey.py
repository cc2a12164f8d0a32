"""An embedded Valkey on a private Unix socket, with an append-only file.

Knows nothing of queues or caches.
"""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import quote

from atelier.up.engines.binaries import find_valkey
from atelier.up.engines.errors import from_os_error
from atelier.up.engines.process import PATIENCE_SECONDS, Engine, lock_folder, open_log, spawn
from atelier.up.engines.sockets import reachable

SOCKET = "valkey.sock"
OPTIONS = {
    "port": "0",  # no TCP
    "unixsocket": SOCKET,  # relative to its folder: the limit on socket paths does not apply
    "unixsocketperm": "700",
    "dir": ".",
    "daemonize": "no",
    "set-proc-title": "no",
    "loglevel": "warning",
    "save": "",  # no snapshots: the append-only file holds everything
    "appendonly": "yes",
    # A crash loses the last second or two of jobs, also of the engine alone while the disk is slow
    # to sync; rows are the truth, and the reconciler sends what is lost again.
    "appendfsync": "everysec",
    "maxmemory-policy": "noeviction",  # a queue must refuse, not forget
    "databases": "64",  # one for each worker of a test run
}


def start_valkey(
    folder: Path,
    *,
    binary: Path | None = None,
    log: Path | None = None,
    memory: int = 0,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Engine:
    """Start it on `folder` (made when missing) and wait until it accepts commands."""
    engine = launch_valkey(
        folder, binary=binary, log=log, memory=memory, patience_seconds=patience_seconds
    )
    engine.wait_ready()
    return engine


def launch_valkey(
    folder: Path,
    *,
    binary: Path | None = None,
    log: Path | None = None,
    memory: int = 0,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Engine:
    """Start it without waiting, with so many bytes of memory (0: as many as there are).

    Raises EngineMissing, FolderInUse, FolderUnusable or DiskFull.
    """
    program = find_valkey(binary)
    # Not resolve(), which would follow the operator's links.
    folder = Path(os.path.abspath(folder))  # noqa: PTH100
    log = log or folder.with_name(f"{folder.name}.log")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise from_os_error(error, folder) from error
    lock = lock_folder(folder, patience_seconds)
    try:
        with suppress(FileNotFoundError):
            (folder / SOCKET).unlink()
        output, offset = open_log(log)
        try:
            arguments: list[str | Path] = [
                program,
                *(part for key, value in OPTIONS.items() for part in (f"--{key}", value)),
                *("--maxmemory", str(memory)),
            ]
            process = spawn(
                arguments,
                cwd=folder,
                output=output,
                lock=lock,
                death_signal=signal.SIGTERM,
                account=None,
            )
        finally:
            os.close(output)
    except OSError as error:
        raise from_os_error(error, folder) from error
    finally:
        os.close(lock)
    path = reachable(folder, SOCKET) / SOCKET
    return Engine(
        name="Valkey",
        url=f"unix://{quote(str(path))}",
        folder=folder,
        log=log,
        process=process,
        is_ready=partial(_answers, path),
        stop_signal=signal.SIGTERM,
        halt_signal=signal.SIGKILL,
        log_offset=offset,
    )


def _answers(path: Path) -> bool:
    """Return whether it answers PONG.

    While it loads its file it accepts connections but answers LOADING.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        try:
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False
