"""Ports for tests: free ones from the kernel, and never one that an instance takes by default."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from pathlib import Path

from atelier.settings import Settings

DEFAULT_PORTS = frozenset(Settings.model_fields[name].default for name in ("port", "grpc_port"))
GUARD = Path(__file__).with_name("guard")
LAST_PORT = 65535


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on right now."""
    return free_ports(1)[0]


def free_ports(length: int) -> list[int]:
    """The same, several in a row."""
    while True:
        with ExitStack() as held:
            listener = held.enter_context(socket.create_server(("127.0.0.1", 0)))
            first = int(listener.getsockname()[1])
            ports = list(range(first, first + length))
            if ports[-1] > LAST_PORT or DEFAULT_PORTS & set(ports):
                continue
            try:
                for port in ports[1:]:
                    held.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
        return ports


def forbid_default_ports() -> None:
    """Let no Python process that is started from now on bind a default port; other programs may.

    This process obeys when it loads the guard itself.
    """
    os.environ["FORBIDDEN_PORTS"] = " ".join(map(str, sorted(DEFAULT_PORTS)))
    paths = [str(GUARD), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))


def hold_default_ports() -> list[socket.socket]:
    """Take those that are free: until the sockets are closed no other program can bind them."""
    held = []
    for port in sorted(DEFAULT_PORTS):
        holder = socket.socket()
        try:
            holder.bind(("", port))
        except OSError:  # an instance has it, which does as well
            holder.close()
        else:
            held.append(holder)
    return held
