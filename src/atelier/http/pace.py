"""How fast a peer gives or takes bytes while nothing but the peer is waited for."""

from __future__ import annotations

import socket
import struct
from typing import Any

INFO_BYTES = 128
SEGMENT = struct.Struct("=16xI")  # tcpi_snd_mss in struct tcp_info of <linux/tcp.h>
ACKNOWLEDGED = struct.Struct("=120xQ")  # tcpi_bytes_acked in the same
STEP_SEGMENTS = 2  # a receiver that is slow opens its window by whole segments


class Pace:
    """A bucket of `grace` bytes, full at first: it leaks at a rate, and what moves fills it."""

    __slots__ = ("_grace", "_level", "_moved")

    def __init__(self, grace: float, moved: int) -> None:
        self._grace = self._level = grace
        self._moved = moved

    def keeps_up(self, moved: int, due: float) -> bool:
        """Whether something is left.

        `moved` are the bytes since the connection began, `due` those since the last call.
        """
        self._level = min(self._grace, self._level + moved - self._moved - due)
        self._moved = moved
        return self._level > 0


def bytes_taken(connection: Any) -> tuple[int, int]:
    """The bytes that the peer of a TCP socket has acknowledged, and how many come in one step.

    What the kernel accepts from us says little of a slow peer: megabytes wait in its buffer, and
    it asks for more only when a third of them has gone. On Linux only.
    """
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, INFO_BYTES)
    return ACKNOWLEDGED.unpack_from(info)[0], STEP_SEGMENTS * SEGMENT.unpack_from(info)[0]
