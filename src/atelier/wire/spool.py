"""The bytes of an upload: in memory up to a limit, then in one file, hashed and counted.

Nothing here waits for anything but the disk; an event loop calls `write` and `finish` in threads.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from atelier.disk import clear
from atelier.errors import TooLarge, Unavailable

MIB = 1024 * 1024
MEMORY_BYTES = MIB  # a file up to this size never touches the disk before it is stored
BATCH_BYTES = MIB  # of a larger file are hashed and written at once
STALE_SECONDS = 3600  # of a spooled file
RETRY_SECONDS = 30  # until there may be room again


@dataclass(slots=True)
class Spool:
    """First memory, from `MEMORY_BYTES` on a file of its own in `folder`."""

    folder: Path
    limit: int
    size: int = 0
    waiting: int = 0
    parts: list[bytes] = field(default_factory=list)
    path: Path | None = None
    descriptor: int = -1
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def add(self, chunk: bytes) -> None:
        """Take the next bytes; they wait in memory for `write`. Raises TooLarge."""
        self.size += len(chunk)
        self.waiting += len(chunk)
        if self.size > self.limit:
            raise TooLarge(f"The file is larger than {self.limit} bytes.")
        self.parts.append(chunk)

    @property
    def is_full(self) -> bool:
        """Whether so much waits that it should be written."""
        return self.waiting > BATCH_BYTES

    @property
    def in_memory(self) -> bool:
        """Whether all of it is in memory, and may stay there."""
        return self.path is None and self.size <= MEMORY_BYTES

    def write(self) -> None:
        """Hash and write what waits. Raises Unavailable (disk full)."""
        parts, self.parts, self.waiting = self.parts, [], 0
        with _unavailable():
            if self.path is None:
                self._open()
            for part in parts:
                self.digest.update(part)
                view = memoryview(part)
                while view:
                    view = view[os.write(self.descriptor, view) :]

    def finish(self) -> tuple[str, bytes | Path]:
        """SHA-256 in hex and the whole content. Raises Unavailable."""
        if self.in_memory:
            content = b"".join(self.parts)
            return hashlib.sha256(content).hexdigest(), content
        if self.parts:
            self.write()
        with _unavailable():
            self._close()
        return self.digest.hexdigest(), self.path or b""

    def discard(self) -> None:
        """Remove the file, unless it was taken over. Never fails: the answer is made by now."""
        with suppress(OSError):  # nobody needs what `close` could not write
            self._close()
        if self.path is not None:
            clear(self.path)

    def _open(self) -> None:
        self.folder.mkdir(0o750, parents=True, exist_ok=True)
        path = self.folder / f"{secrets.token_hex(16)}.upload"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self.descriptor = os.open(path, flags, 0o640)
        self.path = path

    def _close(self) -> None:
        descriptor, self.descriptor = self.descriptor, -1  # closed even if `close` complains
        if descriptor >= 0:
            os.close(descriptor)


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            "The file cannot be stored right now.", retry_after=RETRY_SECONDS
        ) from error


def sweep(folder: Path) -> None:
    """Remove what killed processes left: files not written to for `STALE_SECONDS`."""
    for path in folder.glob("*.upload"):
        with suppress(FileNotFoundError):  # its request has just ended
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                clear(path)
