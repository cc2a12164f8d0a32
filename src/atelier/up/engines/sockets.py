"""Where clients find an engine's socket: its own folder, or a short way to it when the path is too long."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from atelier.up.engines.errors import FolderUnusable

SOCKET_PATH_BYTES = 107  # sockaddr_un holds 108 with the closing zero


def reachable(folder: Path, name: str) -> Path:
    """The folder, or a link to it in a short private directory when `folder/name` does not fit a socket address.

    Engines bind the bare name from inside their folder, so only clients meet the limit; connect()
    follows links.
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
    """A directory of ours alone; its name is fixed, so that killed instances leave nothing that grows."""
    bases = [os.environ.get("XDG_RUNTIME_DIR", ""), "/run" if os.geteuid() == 0 else "", "/tmp"]  # noqa: S108 - checked below
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
