"""An embedded PostgreSQL on a private Unix socket, as an unprivileged user when we are root.

Knows no table.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import quote

from atelier.disk import fsync, replace
from atelier.up.engines import access
from atelier.up.engines.binaries import find_postgres
from atelier.up.engines.errors import (
    DiskFull,
    EngineError,
    EngineVersionMismatch,
    FolderInUse,
    from_log,
    from_os_error,
)
from atelier.up.engines.location import Home, find_home
from atelier.up.engines.process import (
    PATIENCE_SECONDS,
    Engine,
    clean_environment,
    command_line,
    follow_parent,
    lock_folder,
    open_log,
    spawn,
)
from atelier.up.engines.sockets import reachable

# The superuser that initdb makes has no password, so nobody can log in as it.
SUPERUSER = DATABASE = "atelier"
SCHEMA = "public"
SOCKET = ".s.PGSQL.5432"
BUILTIN_LOCALE_SINCE = 17  # earlier versions use the operating system's C.UTF-8
INIT_SECONDS = 300  # initdb takes half a second here; a slow disk may need minutes to sync
NEW_CLUSTER_BYTES = 128 * 1024 * 1024  # initdb and the first write-ahead segments

OPTIONS = {
    "listen_addresses": "",  # no TCP
    # its own folder, 0700; relative, so the limit on socket paths does not apply
    "unix_socket_directories": ".",
    "unix_socket_permissions": "0700",
    "port": "5432",
    "max_connections": "200",  # the pools of every role, and a test run
    "shared_buffers": "128MB",  # the working set of metadata; pictures are not in the database
    "wal_compression": "on",  # full-page images are most of the log on a small, busy database
    "max_wal_size": "1GB",
    "jit": "off",  # hot statements take microseconds; compiling them takes milliseconds
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    # statements and the values in error details are people's data
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
# For tests only: a crash of the machine may lose the cluster.
FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def start_postgres(
    folder: Path,
    *,
    binaries: Path | None = None,
    user: str | None = None,
    log: Path | None = None,
    durable: bool = True,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Engine:
    """Start it on `folder` and wait until it accepts connections.

    The folder is made when missing, with an empty database `atelier`, which the role of
    `Engine.url` owns.
    """
    engine = launch_postgres(
        folder,
        binaries=binaries,
        user=user,
        log=log,
        durable=durable,
        patience_seconds=patience_seconds,
    )
    engine.wait_ready()
    return engine


def launch_postgres(
    folder: Path,
    *,
    binaries: Path | None = None,
    user: str | None = None,
    log: Path | None = None,
    durable: bool = True,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Engine:
    """Start it without waiting. Raises an EngineError that says what to do.

    `binaries` is the folder of its programs; `user` runs it when we are root; not `durable` means
    no fsync at all. As root the data may be elsewhere than in `folder`: see `Engine.folder` and
    `Engine.notes`.
    """
    # Not resolve(), which would follow the operator's links.
    folder = Path(os.path.abspath(folder))  # noqa: PTH100
    log = log or folder.with_name(f"{folder.name}.log")
    try:
        home = find_home(folder, find_postgres(binaries), user)
        lock = lock_folder(home.folder, patience_seconds)
        try:
            keys = folder.with_name(f"{folder.name}.keys")
            return _launch(home, lock, log, keys, durable=durable)
        finally:
            os.close(lock)  # the engine inherited it
    except OSError as error:
        raise from_os_error(error, folder) from error


def _launch(home: Home, lock: int, log: Path, keys: Path, *, durable: bool) -> Engine:
    if not (home.folder / "PG_VERSION").exists():
        _create(home, lock, durable=durable)
    _check_version(home)
    _clear_stale_pid(home.folder)
    passwords = _secured(home, lock, keys, durable=durable)
    output, offset = open_log(log)
    options = OPTIONS if durable else OPTIONS | FORGETFUL
    arguments: list[str | Path] = [home.binaries / "postgres", "-D", home.folder]
    arguments += [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
    try:
        process = spawn(
            arguments,
            cwd=Path("/"),
            output=output,
            lock=lock,
            # Immediate, as the supervisor is gone: a fast shutdown that arrives during crash
            # recovery can hang for ever, and the next start recovers anyway.
            death_signal=signal.SIGQUIT,
            account=home.account,
        )
    finally:
        os.close(output)
    return Engine(
        name="PostgreSQL",
        url=_url(home, access.OWNER, passwords),
        client_url=_url(home, access.CLIENT, passwords),
        folder=home.folder,
        log=log,
        process=process,
        is_ready=partial(_is_ready, home.folder, process.pid),
        stop_signal=signal.SIGINT,  # fast: open sessions end, one checkpoint
        halt_signal=signal.SIGQUIT,  # immediate: the next start recovers
        notes=home.notes,
        log_offset=offset,
    )


def _url(home: Home, role: str, passwords: dict[str, str]) -> str:
    socket = quote(str(reachable(home.folder, SOCKET)))
    return f"postgresql://{role}:{passwords[role]}@/{DATABASE}?host={socket}"


def _secured(home: Home, lock: int, keys: Path, *, durable: bool) -> dict[str, str]:
    """Return the passwords of both roles, once the cluster has the roles and asks for passwords.

    New clusters have neither, and those of earlier versions believed every user of the socket.
    """
    authentication = home.folder / "pg_hba.conf"
    passwords = access.passwords(keys)
    if passwords and not _trusts(authentication):
        return passwords
    passwords = passwords or access.new_passwords()
    members = [
        access.Member(name, access.verifier(passwords[name]))
        for name in (access.OWNER, access.CLIENT)
    ]
    wanted = access.statements(members[0], members[1], DATABASE, SCHEMA)
    if not durable:  # tests make databases of their own
        wanted.append(f"ALTER ROLE {access.OWNER} CREATEDB")
    _single(home, lock, home.folder, DATABASE, wanted)
    replace(authentication, access.AUTHENTICATION.encode(), mode=0o600)
    if home.account:
        os.chown(authentication, home.account.uid, home.account.gid)
    access.keep_passwords(keys, passwords)  # last: without it the next start does all again
    return passwords


def _trusts(authentication: Path) -> bool:
    """Return whether a line of `pg_hba.conf` lets anybody in without a password."""
    try:
        lines = authentication.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return True
    return any("trust" in line.partition("#")[0].split() for line in lines)


def _create(home: Home, lock: int, *, durable: bool) -> None:
    """Create a cluster in a draft and move it into place whole.

    A first start that is killed leaves no partial cluster.
    """
    draft = home.folder.with_name(f"{home.folder.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    if shutil.disk_usage(home.folder.parent).free < NEW_CLUSTER_BYTES:
        needed = NEW_CLUSTER_BYTES // 1024**2
        raise DiskFull(f"A new database needs {needed} MiB, the disk of {home.folder} has less.")
    draft.mkdir(mode=0o700)
    if home.account:
        os.chown(draft, home.account.uid, home.account.gid)
    _initialise(home, lock, draft, durable=durable)
    with suppress(FileNotFoundError):
        home.folder.rmdir()  # an empty folder may exist already
    draft.rename(home.folder)
    fsync(home.folder.parent)


def _initialise(home: Home, lock: int, draft: Path, *, durable: bool) -> None:
    locale = ["--locale=C.UTF-8"]
    # The same order and case on every system and after its upgrades.
    if _major(home.version) >= BUILTIN_LOCALE_SINCE:
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    sync = [] if durable else ["--no-sync"]
    fixed = ["-U", SUPERUSER, "-A", "reject", "-E", "UTF8", "-k", "--no-instructions"]
    _run(home, lock, [home.binaries / "initdb", "-D", draft, *fixed, *locale, *sync])
    _single(home, lock, draft, "postgres", [f"CREATE DATABASE {DATABASE}"])


def _single(home: Home, lock: int, folder: Path, database: str, wanted: Sequence[str]) -> None:
    """Execute statements as the superuser while no server runs: nobody else can be it.

    Each is one line.
    """
    program: list[str | Path] = [home.binaries / "postgres", "--single", "-D", folder, database]
    said = _run(home, lock, program, "".join(f"{statement}\n" for statement in wanted))
    if any("ERROR: " in line for line in said.splitlines()):  # it goes on to the next statement
        raise from_log("PostgreSQL", said, folder)


def _run(home: Home, lock: int, arguments: list[str | Path], text: str = "") -> str:
    """Run one of its programs to the end; return what it said of errors.

    The program dies with this process. It and its children hold the lock, so the next start does
    not remove the draft while they still write to it.
    """
    options = home.account.popen_options() if home.account else {}
    done = subprocess.run(  # noqa: S603 - programs we looked up
        arguments,
        input=text,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd="/",
        env=clean_environment(),
        timeout=INIT_SECONDS,
        pass_fds=(lock,),
        preexec_fn=follow_parent(signal.SIGKILL),
        **options,
    )
    if done.returncode:
        raise from_log("PostgreSQL", done.stderr or done.stdout, home.folder)
    return str(done.stderr)


def _check_version(home: Home) -> None:
    found = (home.folder / "PG_VERSION").read_text(encoding="ascii", errors="replace").strip()
    if found != str(_major(home.version)):
        raise EngineVersionMismatch(
            f"{home.folder} was written by PostgreSQL {found}, but {home.binaries} is "
            f"{home.version}: "
            f"set ATELIER_POSTGRES_BIN to a PostgreSQL {found}, or back up with the version that "
            "wrote it and restore that (docs/howto/upgrade.md)."
        )


def _major(version: str) -> int:
    found = re.match(r"\d+", version)
    if not found:
        raise EngineError(f"PostgreSQL calls its version {version!r}.")
    return int(found[0])


def _clear_stale_pid(folder: Path) -> None:
    """Remove a `postmaster.pid` that belongs to no running PostgreSQL of this folder.

    PostgreSQL itself trusts any live process with that pid, a zombie or another program included.
    """
    path = folder / "postmaster.pid"
    with suppress(FileNotFoundError):
        pid = path.read_text(encoding="utf-8", errors="replace").partition("\n")[0].strip()
        if pid.isdecimal() and _serves(int(pid), folder):
            raise FolderInUse(
                f"{folder} is served by a PostgreSQL that was started by other means (process "
                f"{pid})."
            )
        path.unlink()


def _serves(pid: int, folder: Path) -> bool:
    """Return whether this process is a postmaster of `folder`.

    By its working directory, or by its arguments where that is hidden.
    """
    arguments = command_line(pid)
    if not arguments or not Path(arguments[0].split()[0]).name.startswith(
        ("postgres", "postmaster")
    ):
        return False
    try:
        return Path(f"/proc/{pid}/cwd").samefile(folder)
    except OSError:
        return str(folder) in arguments


def _is_ready(folder: Path, pid: int) -> bool:
    """Return whether it is ready: the eighth line of `postmaster.pid`, as `pg_ctl -w` reads it."""
    try:
        lines = (
            (folder / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
        )
    except OSError:
        return False
    return len(lines) > 7 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"
