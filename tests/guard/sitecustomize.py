"""Refuses a default port of an instance to every Python process of a test run.

Python imports it when it starts, since the run puts this folder on PYTHONPATH. Programs that are
not Python, or get an environment of their own, meet the sockets that
`tests.ports.hold_default_ports` holds in continuous integration.
"""

from __future__ import annotations

import os
import sys

FORBIDDEN = {int(port) for port in os.environ.get("FORBIDDEN_PORTS", "").split()}


def refuse(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook: raises PermissionError for `bind` to a default port."""
    if event != "socket.bind":
        return
    address = arguments[1]
    if isinstance(address, tuple) and address[1] in FORBIDDEN:
        raise PermissionError(f"port {address[1]} is for instances: a test takes one that is free")


sys.addaudithook(refuse)
