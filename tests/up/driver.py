"""A supervisor that a test drives: started as a process, read, asked, ended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from atelier.up.engines.process import command_line, start_time
from tests.ports import free_port
from tests.waiting import PATIENCE_SECONDS, until

INSTANCE = Path(__file__).with_name("instance.py")


class Instance:
    """One supervisor on a folder and a port."""

    def __init__(self, folder: Path, *flags: str, uid: int | None = None, **settings: str) -> None:
        self.data = folder
        self.port = free_port()
        self.flags = flags
        self.uid = uid
        self.python = sys.executable if uid is None else python_of(uid)
        self.settings = {"GRPC_PORT": str(free_port())} | settings
        self.log = tempfile.TemporaryFile()
        self.process: subprocess.Popen[bytes]

    def start(self, *, wait: bool = True) -> Instance:
        """Start it; with `wait`, return after its start screen and when the worker is ready."""
        environment = os.environ | {
            f"ATELIER_{key}": value for key, value in self.settings.items()
        }
        if self.python != sys.executable:
            environment |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.process = subprocess.Popen(
            [self.python, INSTANCE, self.data, str(self.port), *self.flags],
            stdout=self.log,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd="/",
            user=self.uid,
            group=self.uid,
            extra_groups=None if self.uid is None else [],
            preexec_fn=hear_hangups,  # noqa: PLW1509 - one system call, no locks taken
        )
        if wait:
            until(lambda: self.is_up() or self.process.poll() is not None)
            assert self.process.poll() is None, self.text()
        return self

    def is_up(self) -> bool:
        """True once all of it has started."""
        return "is running" in self.text() and "worker works" in self.text()

    def text(self) -> str:
        """All that it has printed."""
        return os.pread(self.log.fileno(), 10_000_000, 0).decode("utf-8", "replace")

    def get(self, path: str) -> int:
        """The status of a path; 0 when the connection is refused."""
        try:
            url = f"http://127.0.0.1:{self.port}{path}"
            with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    def members(self) -> set[int]:
        """Every process below it; all of them live."""
        found: set[int] = set()
        grown = {self.process.pid}
        while grown:
            grown = {pid for pid, parent in parents().items() if parent in grown} - found
            found |= grown
        return found

    def child(self, word: str) -> int | None:
        """The pid of its child called `word`: a role's argument, an engine's program."""
        children = [pid for pid, parent in parents().items() if parent == self.process.pid]
        return next(
            (pid for pid in children if word in {Path(part).name for part in command_line(pid)}),
            None,
        )

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(PATIENCE_SECONDS)

    def end(self) -> None:
        """Whatever the test did, nothing stays."""
        if hasattr(self, "process") and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


def hear_hangups() -> None:
    """Undo nohup's ignoring of SIGHUP, which tests may run under and children inherit."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def parents() -> dict[int, int]:
    """Every live process and its parent."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and start_time(int(entry.name)):
            with suppress(OSError):
                found[int(entry.name)] = int(
                    (entry / "stat").read_text().rpartition(")")[2].split()[1]
                )
    return found


def python_of(uid: int) -> str:
    """A Python of our version that this user can run: ours may live in root's home."""
    system = shutil.which(f"python3.{sys.version_info.minor}", path="/usr/bin:/usr/local/bin")
    for python in filter(None, (sys.executable, system)):
        with suppress(OSError):
            if subprocess.run([python, "-c", ""], check=False, user=uid, cwd="/").returncode == 0:
                return python
    pytest.skip("no Python here that another user can run")
