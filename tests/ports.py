"""Ports for tests: free ones from the kernel, and never one that an instance takes by default."""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

from atelier.settings import Settings

DEFAULT_PORTS = frozenset(Settings.model_fields[name].default for name in ("port", "grpc_port"))
GUARD = Path(__file__).with_name("guard")
FIRST_PORT = 10_000  # above most services that a machine may run
USUAL_EPHEMERAL_PORT = 32_768


def free_port() -> int:
    """A free port of 127.0.0.1."""
    return free_ports(1)[0]


def free_ports(length: int) -> list[int]:
    """The same, several in a row.

    They lie below those that the kernel gives to clients and whatever else asks for any: what is
    free now is free when a program binds it seconds later.
    """
    end = max(first_ephemeral_port(), FIRST_PORT + 2_000)
    while True:
        first = FIRST_PORT + secrets.randbelow(end - FIRST_PORT - length)
        ports = list(range(first, first + length))
        with ExitStack() as held, suppress(OSError):
            for port in ports:
                held.enter_context(socket.create_server(("127.0.0.1", port)))
            return ports


def first_ephemeral_port() -> int:
    """Where the kernel's own choice of ports begins."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        return USUAL_EPHEMERAL_PORT


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
