"""The set difference of listed and known paths, of any size, in bounded memory.

Paths are split over files by hash, so that a path and its record of being known meet in one file.
"""

from __future__ import annotations

import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

SPILL = 200_000
"""Paths held in memory before they go to disk: some 30 MB."""

PARTS = 256
"""Files that paths are split over: of 100 million, 400,000 in each, which fit in memory."""

_BUFFER = 16 * 1024


class NewNames:
    """Takes known and listed paths; yields each listed path that is not known, once."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._held: list[bytes] = []
        self._folder: Path | None = None
        self._parts: list[bytearray] = []

    def known(self, path: bytes) -> None:
        """Add a known path. The order of `known` and `listed` does not matter."""
        self._add(b"K" + path)

    def listed(self, path: bytes) -> None:
        """Add a path that exists now."""
        self._add(b"L" + path)

    def new(self) -> Iterator[bytes]:
        """Yield the listed paths that are not known; then forget everything."""
        if self._folder is None:
            yield from _difference(self._held)
        else:
            self._spill()
            for number in range(PARTS):
                self._write(number)
                path = self._folder / str(number)
                yield from _difference(
                    path.read_bytes().split(b"\0")[:-1] if path.exists() else []
                )
                path.unlink(missing_ok=True)
            shutil.rmtree(self._folder, ignore_errors=True)
        self._held, self._folder = [], None

    def _add(self, record: bytes) -> None:
        self._held.append(record)
        if len(self._held) >= SPILL:
            self._spill()

    def _spill(self) -> None:
        if self._folder is None:
            self._folder = type(self._scratch)(tempfile.mkdtemp(prefix="new-", dir=self._scratch))
            self._parts = [bytearray() for _ in range(PARTS)]
        for record in self._held:
            part = self._parts[zlib.crc32(record[1:]) % PARTS]
            part += record
            part += b"\0"
        self._held.clear()
        for number, part in enumerate(self._parts):
            if len(part) > _BUFFER:
                self._write(number)

    def _write(self, number: int) -> None:
        if self._folder is not None and self._parts[number]:
            with (self._folder / str(number)).open("ab") as file:
                file.write(self._parts[number])
            self._parts[number].clear()


def _difference(records: list[bytes]) -> Iterator[bytes]:
    known = {record[1:] for record in records if record[:1] == b"K"}
    for record in records:
        path = record[1:]
        if record[:1] == b"L" and path not in known:
            known.add(path)
            yield path
