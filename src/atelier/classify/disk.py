"""Appends to files and replaces them crash-safely; waits while the disk is full."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Errors of a full disk, quota or file size; all of them pass once there is room."""

ROOM_SECONDS = 2.0
"""Seconds between two tries to write to a full disk."""

_log = logging.getLogger(__name__)


def append(descriptor: int, data: bytes) -> Iterator[float]:
    """Write all of `data`; while the disk is full, yield the seconds until the next try."""
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
    """Replace a file atomically and durably: it holds its old content or all of the new."""
    temporary = path.with_name(path.name + ".new")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make new and renamed entries of a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
