"""A connection of HTTP/2 frames by hand (RFC 9113), for calls that no client library makes."""

from __future__ import annotations

import asyncio
import struct
from typing import Self

from tests.waiting import eventually

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS = 0, 1, 3, 4
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW_SIZE = 4


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def field(name: str, value: str) -> bytes:
    """A header field without any index (RFC 7541, 6.2.2); lengths of up to 2**14 octets."""
    return b"\0" + b"".join(_string(text.encode()) for text in (name, value))


def _string(text: bytes) -> bytes:
    if len(text) < 127:
        return bytes([len(text)]) + text
    rest = len(text) - 127
    low = bytes([rest]) if rest < 128 else bytes([rest % 128 + 128, rest // 128])
    return b"\x7f" + low + text


class RawConnection:
    """Opens calls, sends their messages or not, and never grants a window."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._next = 1
        self._ended: set[int] = set()
        self._answered = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, port: int, window: int | None = None) -> Self:
        """Connect; `window` bytes are taken of each answer, and no more."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        settings = b"" if window is None else struct.pack(">HI", INITIAL_WINDOW_SIZE, window)
        writer.write(PREFACE + frame(SETTINGS, 0, 0, settings))
        return cls(reader, writer)

    def call(self, path: str, *, authorization: str = "", message: bytes | None = None) -> None:
        """Begin a call; without a message it stays so."""
        fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x"}
        fields |= {"content-type": "application/grpc", "te": "trailers"}
        if authorization:
            fields["authorization"] = authorization
        block = b"".join(field(*one) for one in fields.items())
        self._writer.write(frame(HEADERS, END_HEADERS, self._next, block))
        if message is not None:
            body = struct.pack(">BI", 0, len(message)) + message
            self._writer.write(frame(DATA, END_STREAM, self._next, body))
        self._next += 2

    async def ended(self, calls: int) -> None:
        """Wait until so many calls have ended."""
        await eventually(lambda: len(self._ended) >= calls)

    async def answered(self) -> None:
        """Wait for the head of the first answer."""
        await self._answered.wait()

    def close(self) -> None:
        """Hang up."""
        self._reading.cancel()
        self._writer.close()

    async def _read(self) -> None:
        while True:
            head = await self._reader.readexactly(9)
            length, (kind, flags, stream) = (
                int.from_bytes(head[:3], "big"),
                struct.unpack(">BBI", head[3:]),
            )
            await self._reader.readexactly(length)
            if kind == SETTINGS and not flags & ACK:
                self._writer.write(frame(SETTINGS, ACK, 0))
            if kind == HEADERS:
                self._answered.set()
            if kind == RST_STREAM or (kind in (HEADERS, DATA) and flags & END_STREAM):
                self._ended.add(stream)
