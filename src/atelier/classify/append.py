"""Appending to files, and waiting while the disk is full."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

from atelier.disk import FULL

ROOM_SECONDS = 2.0
"""Between two tries to write to a full disk."""

_log = logging.getLogger(__name__)


def append(descriptor: int, data: bytes) -> Iterator[float]:
    """Write all of `data`; while the disk is full, yield the seconds to wait before a retry."""
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
