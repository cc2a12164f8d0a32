"""The path by which clients reach an engine's socket: its folder, or a short link to it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from atelier.up.engines.errors import FolderUnusable

SOCKET_PATH_BYTES = 107  # sockaddr_un holds 108 with the closing zero


def reachable(folder: Path, name: str) -> Path:
    """Return the folder, or a short link to it when `folder/name` exceeds a socket address.

    The link is in a private directory. Engines bind the bare name from inside their folder, so
    only clients meet the limit; connect() follows links.
    """
    if len(os.fsencode(folder / name)) <= SOCKET_PATH_BYTES:
        return folder
    directory = _private_directory()
    _prune(directory)
    link = directory / hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    with suppress(FileExistsError):
        link.symlink_to(folder)
    if not link.is_symlink() or link.readlink() != folder:
        raise FolderUnusable(f"{link} is in the way: remove it.")
    return link


def _prune(directory: Path) -> None:
    """Drop links to folders that are gone."""
    for link in directory.iterdir():
        if link.is_symlink() and not link.exists():
            link.unlink(missing_ok=True)


def _private_directory() -> Path:
    """Return a directory that only this user can write.

    Its name is fixed, so killed instances do not accumulate directories.
    """
    run = "/run" if os.geteuid() == 0 else ""
    bases = [os.environ.get("XDG_RUNTIME_DIR", ""), run, "/tmp"]  # noqa: S108 - checked below
    for base in filter(None, bases):
        path = Path(base) / f"atelier-{os.geteuid()}"
        with suppress(OSError):
            path.mkdir(mode=0o700, exist_ok=True)
            status = path.lstat()
            if (
                path.is_dir()
                and not path.is_symlink()
                and status.st_uid == os.geteuid()
                and not status.st_mode & 0o077
            ):
                return path
    return Path(tempfile.mkdtemp(prefix="atelier-"))
