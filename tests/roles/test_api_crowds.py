"""`atelier api` as a process with few open files, beside a crowd of clients that hold sockets."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from atelier.observe import probe
from atelier.startup.openfiles import raise_open_files
from tests.ports import free_port
from tests.waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis.asyncio import Redis

SOFT = 1024  # what a login shell has, as a rule
CROWD = 1100
TRICKLE = b"POST /api/images HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\na"
SECRET = "s" * 32


@contextmanager
def served(
    folder: Path, database_url: str, redis_url: str, **settings: str
) -> Iterator[tuple[int, int]]:
    """Port and pid of an API that was started with the usual soft limit."""
    port = free_port()
    given = {
        "data": str(folder),
        "port": str(port),
        "database_url": database_url,
        "redis_url": redis_url,
        "secret": SECRET,
    } | settings
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "atelier", "api"],
        env=os.environ | {f"ATELIER_{name.upper()}": value for name, value in given.items()},
    )
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (SOFT, hard))
    try:
        until(
            lambda: (
                process.poll() is not None or probe.ask("127.0.0.1", port, "/healthz")[0] == 200
            )
        )
        assert process.poll() is None
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


@contextmanager
def crowd(port: int, opening: bytes) -> Iterator[list[socket.socket]]:
    """Clients of one address that have sent so much and go on holding their sockets."""
    raise_open_files()
    with ExitStack() as stack:
        clients = []
        for _ in range(CROWD):
            client = socket.create_connection(
                ("127.0.0.1", port), PATIENCE_SECONDS, ("127.0.0.2", 0)
            )
            clients.append(stack.enter_context(client))
            with suppress(ConnectionError):  # refused already
                client.sendall(opening)
        yield clients


@pytest.mark.parametrize(
    ("opening", "allowed"),
    [(b"", "512"), (b"", "5000"), (TRICKLE, "5000")],
    ids=["refused", "silent", "bodies"],
)
def test_a_crowd_shuts_nobody_out(
    tmp_path: Path,
    fresh_database_url: str,
    redis_url: str,
    redis: Redis,
    opening: bytes,
    allowed: str,
) -> None:
    """A client is answered while another holds more sockets than a process has files as a rule.

    Those above the other's share are refused, and none of those within it.
    """
    with (
        served(tmp_path, fresh_database_url, redis_url, client_connections=allowed) as (port, pid),
        crowd(port, opening) as clients,
    ):
        assert resource.prlimit(pid, resource.RLIMIT_NOFILE)[0] == raise_open_files()
        assert probe.ask("127.0.0.1", port, "/readyz")[0] == 200
        for client in clients[int(allowed) :]:
            assert client.recv(12) == b"HTTP/1.1 429"
