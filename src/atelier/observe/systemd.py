"""Readiness notification: systemd's protocol, which `atelier up` speaks as well.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html defines the messages.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress

VARIABLE = "NOTIFY_SOCKET"
READY = "READY=1"
PID = "MAINPID="
SEND_SECONDS = 1.0  # for one datagram: a supervisor that hangs must not block this process


def ready() -> None:
    """Report that this process is ready; without a supervisor do nothing."""
    address = os.environ.get(VARIABLE)
    if not address:
        return
    if address.startswith("@"):  # an abstract socket of Linux
        address = f"\0{address[1:]}"
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as outlet:
        outlet.settimeout(SEND_SECONDS)
        outlet.sendto(f"{READY}\n{PID}{os.getpid()}\n".encode(), address)


def ready_pid(message: bytes) -> int | None:
    """Return the pid of the process that reports ready by this datagram, or None."""
    lines = message.decode("ascii", "replace").splitlines()
    pids = [line.removeprefix(PID) for line in lines if line.startswith(PID)]
    return int(pids[0]) if READY in lines and pids and pids[0].isdecimal() else None
