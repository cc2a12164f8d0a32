"""Ends of connections."""

from __future__ import annotations

import asyncio
import socket
import struct

_AT_ONCE = struct.pack("ii", 1, 0)  # struct linger of <sys/socket.h>: on, for no second


def reset(transport: asyncio.WriteTransport) -> None:
    """Close a connection whose peer takes nothing.

    What waits for it is thrown away, also by the kernel, which would keep megabytes for minutes.
    """
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    transport.abort()
