"""Checks a folder before anything starts, without making one.

The folder itself may not exist yet.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from atelier.settings import Settings, SettingsError


def require_blobs(settings: Settings, *, write: bool = True) -> None:
    """Raise SettingsError when this user cannot store blobs (without `write`: read them)."""
    folder = settings.blobs_folder
    if folder is None:
        return
    try:
        require_usable(folder, write=write)
    except OSError as error:
        where = "" if error.filename == str(folder.absolute()) else f" ({error.filename})"
        reason = f"{folder.absolute()} cannot be used: {error.strerror}{where}."
        raise SettingsError(f"{settings.spelled('blobs')}: {reason}") from error


def require_usable(folder: Path, *, write: bool = True) -> None:
    """Raise OSError for a folder that this user cannot use.

    It, or the folder that it would be made in, is closed to this user, read-only or no folder.
    """
    place = existing(folder)
    if not place.is_dir():
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(place))
    needed = os.X_OK | (os.W_OK if write else 0)
    if not os.access(place, needed, effective_ids=True):
        number = errno.EROFS if os.statvfs(place).f_flag & os.ST_RDONLY else errno.EACCES
        raise OSError(number, os.strerror(number), str(place))


def existing(folder: Path) -> Path:
    """Return the folder itself, or the nearest parent that exists as far as this user can see."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if os.path.lexists(path))
