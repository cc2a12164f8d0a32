"""Where log lines go: the console, and a file that several processes write and rotate.

Knows no form of a line.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO, cast

from atelier.disk import lock

FILE_BYTES = 10 * 1024 * 1024  # of one log file before it is rotated
FILES_KEPT = 5  # rotated files of each role


class _Quiet(logging.Handler):
    """Reports in one line that a line was lost.

    Logging's own report would print the arguments, secrets included.
    """

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's hook
        with suppress(OSError, ValueError):
            sys.stderr.write(f"a log line of {record.name} was lost: {sys.exc_info()[1]!r:.200}\n")


class ConsoleHandler(_Quiet, logging.StreamHandler[TextIO]):
    """Logs to a stream, by default standard error."""


class FileHandler(_Quiet, logging.handlers.WatchedFileHandler):
    """Logs to a file that any of several processes rotates when it reaches the limit."""

    def __init__(
        self,
        path: Path,
        limit: int = FILE_BYTES,
        kept: int = FILES_KEPT,
        *,
        delay: bool = False,
    ) -> None:
        """With `delay` the file is made by its first line."""
        super().__init__(path, encoding="utf-8", errors="backslashreplace", delay=delay)
        self.path = path
        self.limit = limit
        self.kept = kept

    def _open(self) -> TextIOWrapper:
        """Open it with an engine log's mode: addresses of people are in it."""
        opened = open(
            self.baseFilename,
            self.mode,
            encoding=self.encoding,
            errors=self.errors,
            opener=_private,
        )
        return cast("TextIOWrapper", opened)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line; rotate when the file has reached the limit."""
        super().emit(record)
        try:
            if self.stream and (status := os.fstat(self.stream.fileno())).st_size > self.limit:
                self._rotate(status.st_ino)
        except OSError:
            self.handleError(record)

    def _rotate(self, inode: int) -> None:
        with os.fdopen(lock(self.path.with_name(f".{self.path.name}.lock"), wait=True)):
            if inode != self.path.stat().st_ino:
                return  # another process was faster; the next line goes to the new file
            for number in range(self.kept - 1, 0, -1):
                with suppress(FileNotFoundError):
                    self._numbered(number).replace(self._numbered(number + 1))
            self.path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o640)
