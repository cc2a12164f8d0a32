"""A JSON Lines file that only grows; a line torn by a crash is cut off on opening."""

from __future__ import annotations

import asyncio
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from atelier.classify.append import append

_BLOCK = 1 << 20
_PRINT = 4096  # bytes before a position that its fingerprint covers


class Lines:
    """One file of lines; a line is in it as soon as `write` returns, durably after `sync`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644
        )
        self.size = os.fstat(self._descriptor).st_size
        self._turn = asyncio.Lock()

    def close(self) -> None:
        """Close the file of lines."""
        os.close(self._descriptor)

    async def write(self, line: bytes) -> None:
        """Append one line (with its end); waits while the disk is full.

        Cancelled, it leaves no half line.
        """
        async with self._turn:
            try:
                for seconds in append(self._descriptor, line):
                    await asyncio.sleep(seconds)
            except BaseException:
                self.cut(self.size)
                raise
            self.size += len(line)

    def cut(self, size: int) -> None:
        """Cut off everything beyond a position."""
        os.ftruncate(self._descriptor, size)
        self.size = size

    def mend(self) -> None:
        """Cut off a torn last line."""
        end = self.size
        while end:
            start = max(0, end - _BLOCK)
            found = os.pread(self._descriptor, end - start, start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end != self.size:
            self.cut(end)

    def sync(self) -> None:
        """Make all lines durable."""
        os.fdatasync(self._descriptor)

    def after(self, position: int) -> Iterator[tuple[int, bytes]]:
        """The whole lines beyond a position, each with the position after it."""
        return lines_after(self._descriptor, position)

    def fingerprint(self, position: int) -> int:
        """A checksum of the bytes before a position, which tells another or an edited file."""
        start = max(0, position - _PRINT)
        return zlib.crc32(os.pread(self._descriptor, position - start, start))


def lines_after(descriptor: int, position: int) -> Iterator[tuple[int, bytes]]:
    """The whole lines of a file beyond a position, each with the position after it.

    An incomplete last line is left out.
    """
    rest = b""
    start = position
    while block := os.pread(descriptor, _BLOCK, start):
        start += len(block)
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            position += len(line) + 1
            yield position, line
