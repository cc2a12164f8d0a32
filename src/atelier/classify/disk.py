"""Appending to files and replacing them so that they survive a crash, and waiting while the disk is full."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the kernel answers when there is no room; all of it passes when somebody makes room."""

ROOM_SECONDS = 2.0
"""Between two tries to write to a full disk."""

_log = logging.getLogger(__name__)


def append(descriptor: int, data: bytes) -> Iterator[float]:
    """Write all of `data`; while the disk is full, yield the seconds to wait before the next try."""
    view, told = memoryview(data), False
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except OSError as error:
            if error.errno not in FULL:
                raise
            if not told:
                _log.warning("paused: no room to write (%s); waiting for some", error.strerror)
                told = True
            yield ROOM_SECONDS
    if told:
        _log.warning("there is room again; going on")


def replace(path: Path, data: bytes) -> None:
    """Put a file on disk so that it holds either its old content or all of the new, whatever happens."""
    temporary = path.with_name(path.name + ".new")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
