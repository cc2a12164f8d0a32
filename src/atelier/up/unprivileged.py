"""Started as root: gives the data folder to an unprivileged user, and goes on as that user.

The command is executed anew after the change, so that no state of root's process stays. Where that
user cannot reach Python, the data or the blobs (a home that is closed to others), it keeps the one
capability with which it can; everything else of root's is given up for good.
"""

from __future__ import annotations

import compileall
import os
import site
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import atelier
from atelier.sandbox import capabilities
from atelier.sandbox.capabilities import Capability
from atelier.settings import ROOT_VARIABLE, Settings
from atelier.settings.sources import config_file
from atelier.startup.fonts import require_font
from atelier.up.engines.account import Account, account_for
from atelier.up.engines.location import STATE, place_of
from atelier.up.preflight import take_folder

ROOT = "root"  # as the setting `user`: everything goes on as root
PROBE_SECONDS = 120
IMPORTS = "import atelier, pydantic_settings, typer"
# Prints the first of the paths that cannot be used so: -r, -w or -x, a path, and so on.
TESTS = 'while [ $# -gt 1 ]; do test "$1" "$2" || { printf %s "$2"; exit 1; }; shift 2; done'
UNPRIVILEGED_PORTS = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
FIRST_PORT = 1024


@dataclass(frozen=True)
class Needs:
    """The capabilities that a user needs to run the command, and why, in words."""

    kept: frozenset[Capability] = frozenset()
    reasons: tuple[str, ...] = ()

    def also(self, wanted: Sequence[Capability], reason: str) -> Needs:
        """These and the first of `wanted` that we hold; these where we hold none."""
        for one in wanted:
            if capabilities.holds(one):
                return Needs(self.kept | {one}, (*self.reasons, reason))
        return Needs(self.kept, (*self.reasons, reason))


def leave_root(settings: Settings) -> None:
    """Execute this command anew as an unprivileged user; return where we need not, or cannot.

    The data folder, made when missing, becomes that user's. Raises EngineError without a user, and
    SettingsError for a font that cannot be used.
    """
    if not _is_root() or settings.user == ROOT:
        return
    folder = Path(os.path.abspath(settings.data))  # noqa: PTH100 - resolve() follows links
    account = account_for(settings.user or settings.postgres_user, _owner(folder))
    if account is None:
        return
    require_font(settings)  # what keeps roles from starting is said before anything is made
    lock = take_folder(folder)
    try:
        give(folder, account)
    finally:
        os.close(lock)
    # The user cannot write the package's folder, and would compile it at every start.
    compileall.compile_dir(str(Path(atelier.__file__).parent), quiet=2)
    needs = needs_of(settings, folder, account)
    _execute(account, needs, {ROOT_VARIABLE: _note(account, needs)} | _home(folder, needs))


def join_owner(settings: Settings) -> None:
    """Execute this operator's command anew as the user who owns the data folder.

    So that `atelier up` can use what it writes. It can still read and write what root can, such as
    a folder of backups.
    """
    owner = _owner(Path(os.path.abspath(settings.data))) if _is_root() else None  # noqa: PTH100
    account = account_for(None, owner) if owner else None
    if account is not None and settings.user != ROOT:
        held = [one for one in capabilities.OF_FILES if capabilities.holds(one)]
        _execute(account, Needs(frozenset(held)), {})


def needs_of(settings: Settings, folder: Path, account: Account) -> Needs:
    """What this user needs beyond its own rights to run `atelier up` with these settings."""
    needs = Needs()
    reads = [("-x", os.getcwd()), ("-w", str(folder))]  # noqa: PTH109 - a name
    reads += [("-r", str(path)) for path in _files(settings) if path.exists()]
    closed = _first_unusable(account, reads)
    if closed is None and not _runs(account, [sys.executable, "-P", "-c", IMPORTS]):
        closed = sys.prefix
    if closed is not None:
        wanted = (Capability.DAC_READ_SEARCH, Capability.DAC_OVERRIDE)
        needs = needs.also(wanted, f"may read every file, for {closed} is closed to it")
    blobs = settings.blobs_folder
    if blobs is not None and not blobs.absolute().is_relative_to(folder):
        existing = next(path for path in (blobs, *blobs.absolute().parents) if path.exists())
        if _first_unusable(account, [("-w", str(existing))]) is not None:
            reason = f"may write every file, for {existing} is not its own"
            needs = needs.also([Capability.DAC_OVERRIDE], reason)
    ports = [port for port in (settings.port, settings.grpc_port, settings.metrics_port) if port]
    if ports and min(ports) < _first_port():
        needs = needs.also([Capability.NET_BIND_SERVICE], f"may listen on port {min(ports)}")
    return needs


def give(folder: Path, account: Account) -> None:
    """Make the user the owner of the folder and all in it; nothing outside, no link followed.

    A folder in it that is the user's already is taken to be so throughout. The database that an
    earlier version put elsewhere is in a folder of ours: that is given, too.
    """
    place = place_of(folder / "postgres")
    if place.is_relative_to(STATE) and place.parent.is_dir():
        _give_tree(place.parent, account)
    _give_tree(folder, account)


def _give_tree(top: Path, account: Account) -> None:
    for entry in sorted(top.iterdir()):
        status = entry.lstat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid != account.uid:
            for _, folders, files, descriptor in os.fwalk(entry, topdown=False):
                for name in (*files, *folders):
                    _give(name, descriptor, account)
        if status.st_uid != account.uid:
            os.chown(entry, account.uid, account.gid, follow_symlinks=False)
    os.chown(top, account.uid, account.gid)


def _give(name: str, folder: int, account: Account) -> None:
    """Give one entry of an open folder.

    Not a file that another user may have linked into a folder of his.
    """
    status = os.lstat(name, dir_fd=folder)
    several = not stat.S_ISDIR(status.st_mode) and status.st_nlink > 1
    if status.st_uid != account.uid and not (several and os.fstat(folder).st_uid != 0):
        os.chown(name, account.uid, account.gid, dir_fd=folder, follow_symlinks=False)


def _is_root() -> bool:
    needed = (Capability.SETUID, Capability.SETGID)
    return sys.platform == "linux" and os.geteuid() == 0 and all(map(capabilities.holds, needed))


def _owner(folder: Path) -> int | None:
    """The user who owns the database, else the folder; None: root, or nothing is there."""
    for place in (place_of(folder / "postgres"), folder):
        if place.exists() and (owner := place.stat().st_uid):
            return owner
    return None


def _files(settings: Settings) -> list[Path]:
    font = settings.caption_font
    named = [settings.postgres_bin, settings.valkey_bin, Path(font) if font else None]
    return [config_file(), *(path for path in named if path is not None)]


def _first_unusable(account: Account, tests: Sequence[tuple[str, str]]) -> str | None:
    """The first path that the user cannot use as its test asks; the kernel decides."""
    words = [word for test in tests for word in test]
    done = _run(account, ["/bin/sh", "-c", TESTS, "sh", *words])
    return None if done is not None and done.returncode == 0 else (done and done.stdout) or "/"


def _runs(account: Account, arguments: Sequence[str]) -> bool:
    done = _run(account, arguments)
    return done is not None and done.returncode == 0


def _run(account: Account, arguments: Sequence[str]) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(  # noqa: S603 - our own short commands
            arguments,
            check=False,
            capture_output=True,
            text=True,
            cwd="/",
            timeout=PROBE_SECONDS,
            **account.popen_options(),
        )
    except (OSError, subprocess.SubprocessError):
        return None


def _first_port() -> int:
    try:
        return int(UNPRIVILEGED_PORTS.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return FIRST_PORT


def _note(account: Account, needs: Needs) -> str:
    but = f"; it {' and '.join(needs.reasons)}" if needs.reasons else ""
    return f"Started as root: everything runs as the user {account.name}{but}."


def _home(folder: Path, needs: Needs) -> dict[str, str]:
    """A home that the user can read: libraries take a closed one for an error.

    Packages that were installed into root's home stay in sight.
    """
    if needs.kept:
        return {}
    return {"HOME": str(folder), "PYTHONUSERBASE": site.getuserbase()}


def _execute(account: Account, needs: Needs, more: Mapping[str, str]) -> None:
    capabilities.become(account.uid, account.gid, needs.kept)
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | dict(more))  # noqa: S606
