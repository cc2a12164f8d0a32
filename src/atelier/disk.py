"""Files that survive a crash, and locks on files.

Knows nothing of what is stored.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from pathlib import Path

# What the kernel answers when there is no room; all of it passes when somebody makes room
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

log = logging.getLogger(__name__)


def fsync(path: Path) -> None:
    """Have a file's bytes, or the names in a folder, on disk when this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write a file so that it holds its old content or all of the new, whatever happens.

    `mode` is what a new file may be, less the umask. For one writer at a time.
    """
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)  # of a process that was killed here
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)
    fsync(path.parent)


def clear(path: Path) -> bool:
    """Remove a file that is of no more use; whether it is gone.

    Never fails: what the file was for has been done, or has failed for a reason of its own, and a
    sweep removes later what stays.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("a file of no more use is left to the sweep: %s", error)
        return False
    return True


def lock(path: Path, *, wait: bool = False) -> int:
    """Lock a file, made if need be; the descriptor, whose last copy to be closed lets go of it.

    Raises BlockingIOError at once when another holds it, unless told to `wait`.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
