"""An engine as a child process: dies with its parent, locks its folder, stops in order."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from atelier.disk import lock
from atelier.up.engines.account import Account
from atelier.up.engines.errors import FolderBusy, FolderInUse, from_log, from_os_error
from atelier.up.engines.orphans import Eviction, holders

PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>
PR_SET_NAME = 15  # the same
# Between polls of an engine that is starting; both take less than half a second.
POLL_SECONDS = 0.01
START_SECONDS = 120  # crash recovery of a large database may take a while
STOP_SECONDS = 30  # a fast shutdown writes one checkpoint
PATIENCE_SECONDS = 60  # for an engine that is still shutting down after its supervisor was killed
LOG_BYTES = 8 * 1024 * 1024  # an engine's log is truncated above this size
TAIL_BYTES = 4096  # of a log, read for the reason of a failure

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(signum: int = signal.SIGKILL, parent: int | None = None) -> None:
    """Ask the kernel to send `signum` to this process when the thread that made it ends.

    Call it first in a child. With `parent`, the expected parent's pid, a child whose parent died
    before the call dies at once. Changing the user id clears this, so change it before.
    """
    if sys.platform == "linux":
        _libc.prctl(PR_SET_PDEATHSIG, int(signum), 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signum)


def name_process(name: str) -> None:
    """Set the name of this process in `ps -o comm` and `top`; 15 bytes."""
    if sys.platform == "linux":
        _libc.prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def follow_parent(signum: int) -> Callable[[], None]:
    """Return a `preexec_fn` that makes a child die with this process.

    Fork from a thread that lives as long as the process: the main one.
    """
    parent = os.getpid()

    def before_exec() -> None:
        die_with_parent(signum, parent)

    return before_exec


def start_time(pid: int) -> str | None:
    """Return when a process started, in clock ticks; None when it is gone or a zombie.

    Tells reused pids apart.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name in parentheses may hold anything
    return None if fields[0] in "ZX" else fields[19]


def command_line(pid: int) -> list[str]:
    """Return the arguments of a live process; empty when it is gone."""
    if start_time(pid) is None:
        return []
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [os.fsdecode(argument) for argument in raw.split(b"\0") if argument]


def lock_folder(folder: Path, patience_seconds: float = PATIENCE_SECONDS) -> int:
    """Lock an engine's folder.

    The lock is a file beside it: PostgreSQL wants the folder itself empty at first.
    """
    return take_lock(folder.with_name(f"{folder.name}.lock"), folder, patience_seconds)


def take_lock(path: Path, folder: Path, patience_seconds: float = PATIENCE_SECONDS) -> int:
    """Lock the file that stands for `folder`; return its descriptor.

    An engine that inherits the descriptor holds the lock until it ends. Waits for engines whose
    supervisor is gone (they are shutting down), then raises FolderBusy; raises FolderInUse at once
    when the supervisor is alive.
    """
    try:
        descriptor = _locked(path, folder, patience_seconds)
        _write_owner(descriptor)
    except OSError as error:
        raise from_os_error(error, path) from error
    return descriptor


def lock_owner(path: Path) -> int | None:
    """Return the living process that locked `path` by `take_lock`, or None."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _living_owner(descriptor)
    finally:
        os.close(descriptor)


def _locked(path: Path, folder: Path, patience_seconds: float) -> int:
    began, eviction = time.monotonic(), Eviction(path)
    while True:
        try:
            return lock(path)
        except BlockingIOError:
            owner = lock_owner(path)
            if owner not in (None, os.getpid()):
                raise FolderInUse(
                    f"{folder} is in use by another running instance (process {owner})."
                ) from None
            waited = time.monotonic() - began
            if waited > patience_seconds:
                raise _busy(folder, path) from None
            eviction.press(waited)
            time.sleep(POLL_SECONDS)


def _busy(folder: Path, lock: Path) -> FolderBusy:
    pids = " ".join(str(pid) for pid in holders(lock))
    way_out = f": `kill -9 {pids}` ends it" if pids else ""
    return FolderBusy(f"{folder} is still in use by an earlier instance's engine{way_out}.", lock)


def _write_owner(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()} {start_time(os.getpid())}\n".encode(), 0)


def _living_owner(descriptor: int) -> int | None:
    pid, _, started = os.pread(descriptor, 64, 0).decode("ascii", "replace").strip().partition(" ")
    return int(pid) if pid.isdecimal() and started and start_time(int(pid)) == started else None


@dataclass
class Engine:
    """A running engine. `url` stays the same over restarts on the same folder.

    `client_url` is for those who need not change the shape of what is stored; empty: `url` is.
    """

    name: str
    url: str
    folder: Path
    log: Path
    process: subprocess.Popen[bytes]
    is_ready: Callable[[], bool]
    stop_signal: signal.Signals
    halt_signal: signal.Signals
    notes: list[str] = field(default_factory=list)
    log_offset: int = 0
    client_url: str = ""

    def is_alive(self) -> bool:
        """Return whether its main process is running; reap it when not."""
        return self.process.poll() is None

    def check(self) -> None:
        """Raise EngineError with the reason when it has ended by itself."""
        if not self.is_alive():
            raise from_log(self.name, self.last_words(), self.log)

    def starting(self, seconds: float = START_SECONDS) -> Iterator[float]:
        """Look again and again until it takes connections; yields how long to wait between looks.

        Raises EngineError when it ends instead, or is not ready in time.
        """
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            self.check()
            if time.monotonic() > deadline:
                self.halt()
                raise from_log(self.name, f"not ready after {seconds:.0f} s", self.log)
            yield POLL_SECONDS

    def stopping(self, seconds: float = STOP_SECONDS) -> Iterator[float]:
        """End it in order, everything on disk; by force when it has not ended in time.

        Yields how long to wait between looks.
        """
        if self.is_alive():
            self.process.send_signal(self.stop_signal)
        deadline = time.monotonic() + seconds
        while self.is_alive():
            if time.monotonic() > deadline:
                self.halt()
                return
            yield POLL_SECONDS

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Block until it takes connections. Raises as `starting` does."""
        for pause in self.starting(seconds):
            time.sleep(pause)

    def last_words(self) -> str:
        """Return the end of its log since it was started."""
        with self.log.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(min(self.log_offset, end), end - TAIL_BYTES))
            return log.read().decode("utf-8", "replace")

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Block until it has ended as `stopping` ends it."""
        for pause in self.stopping(seconds):
            time.sleep(pause)

    def halt(self, seconds: float = 5) -> None:
        """Stop it at once; the next start recovers from its write-ahead log."""
        if self.is_alive():
            self.process.send_signal(self.halt_signal)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def clean_environment() -> dict[str, str]:
    """The environment without our secrets and stray PG* variables.

    UTC spares initdb its search for the time zone.
    """
    kept = {key: os.environ[key] for key in ("PATH", "LD_LIBRARY_PATH") if key in os.environ}
    return {"LC_ALL": "C", "TZ": "UTC"} | kept


def open_log(path: Path) -> tuple[int, int]:
    """Return a descriptor that appends to the log, and the log's size.

    A file and not a pipe: an engine must never wait for a reader, nor lose its log when the reader
    dies.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > LOG_BYTES:
            path.replace(path.with_name(f"{path.name}.1"))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise from_os_error(error, path) from error
    return descriptor, os.fstat(descriptor).st_size


def trim_log(path: Path) -> None:
    """Truncate a log that has grown too large while its engine runs.

    A copy of the old content stays beside it.
    """
    with suppress(OSError):
        if path.stat().st_size > LOG_BYTES:
            shutil.copyfile(path, path.with_name(f"{path.name}.1"))
            os.truncate(path, 0)  # the engine appends, so it continues at the new end


def spawn(
    arguments: Sequence[str | Path],
    *,
    cwd: Path,
    output: int,
    lock: int,
    death_signal: int,
    account: Account | None,
) -> subprocess.Popen[bytes]:
    """Start an engine in a session of its own, so that Ctrl-C reaches the supervisor alone."""
    return subprocess.Popen(  # noqa: S603 - paths of engines we looked up
        arguments,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=clean_environment(),
        pass_fds=(lock,),
        start_new_session=True,
        preexec_fn=follow_parent(death_signal),  # noqa: PLW1509 - one system call, no locks taken
        **(account.popen_options() if account else {}),
    )
