"""Processes that follow their parent, and locks that live as long as their holders."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from atelier.up.engines import EngineError, orphans
from atelier.up.engines.errors import FolderInUse
from atelier.up.engines.process import (
    LOG_BYTES,
    command_line,
    lock_folder,
    open_log,
    start_time,
    trim_log,
)
from atelier.up.engines.sockets import reachable
from tests.waiting import PATIENCE_SECONDS, gone

if TYPE_CHECKING:
    from pathlib import Path

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(3600)
"""
CHILD = """
import os, time
from atelier.up.engines import die_with_parent
die_with_parent(parent=os.getppid())
print("ready", flush=True)
time.sleep(3600)
"""


def test_a_child_dies_with_its_parent() -> None:
    """Kill -9 of the parent, and the child is gone."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        assert start_time(child)
        parent.kill()
    gone(child)


def test_a_child_whose_parent_is_gone_already_dies_at_once() -> None:
    """The kernel sends no signal for what happened before the wish."""
    code = (
        "from atelier.up.engines import die_with_parent; die_with_parent(parent=1); print('alive')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == b""


def test_a_zombie_is_not_alive() -> None:
    """It has a pid and no life."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert start_time(pid) is None
    assert command_line(pid) == []
    os.waitpid(pid, 0)


def test_a_name_with_parentheses_does_not_confuse(tmp_path: Path) -> None:
    """The name of a process may hold anything."""
    program = tmp_path / "a) Z 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "3600"]) as process:
        assert start_time(process.pid)
        process.kill()


def test_a_lock_lives_as_long_as_those_who_inherit_it(tmp_path: Path) -> None:
    """The starter may close it: the engine holds it."""
    lock = lock_folder(tmp_path / "data")
    with subprocess.Popen(["sleep", "3600"], pass_fds=(lock,)) as holder:
        os.close(lock)
        with pytest.raises(FolderInUse):
            lock_folder(tmp_path / "data", patience_seconds=0.05)
        holder.kill()
    os.close(lock_folder(tmp_path / "data", patience_seconds=PATIENCE_SECONDS))


STUBBORN = (
    "import signal, time; signal.signal(signal.SIGQUIT, signal.SIG_IGN); "
    "print('up', flush=True); time.sleep(3600)"
)


def test_an_orphan_that_refuses_to_stop_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """First it is asked to stop at once; both steps are logged with its pid."""
    monkeypatch.setattr(orphans, "ORPHAN_SECONDS", 0.05)
    monkeypatch.setattr(orphans, "KILL_SECONDS", 0.1)
    lock = lock_folder(tmp_path / "data")
    with subprocess.Popen(
        [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, pass_fds=(lock,)
    ) as holder:
        assert holder.stdout
        holder.stdout.readline()
        os.close(lock)
        os.close(lock_folder(tmp_path / "data", patience_seconds=PATIENCE_SECONDS))
    assert holder.returncode == -signal.SIGKILL
    said = [record.getMessage() for record in caplog.records]
    assert [line.rpartition(" ")[2] for line in said] == ["SIGQUIT", "SIGKILL"]
    assert all(f"process {holder.pid}" in line for line in said)


def test_a_busy_folder_names_the_process_that_holds_it(tmp_path: Path) -> None:
    """Not one that only waits for the lock."""
    lock = lock_folder(tmp_path / "data")
    with subprocess.Popen(["sleep", "3600"], pass_fds=(lock,)) as holder:
        os.close(lock)
        with (
            (tmp_path / "data.lock").open(),
            pytest.raises(FolderInUse, match=rf"`kill -9 {holder.pid}` ends it"),
        ):
            lock_folder(tmp_path / "data", patience_seconds=0)
        holder.kill()


OWNER = (
    "import sys, time; from pathlib import Path; from atelier.up.engines.process import "
    "lock_folder\n"
)
OWNER += "lock_folder(Path(sys.argv[1])); print('locked', flush=True); time.sleep(3600)"


def test_a_living_owner_is_named_at_once(tmp_path: Path) -> None:
    """There is nothing to wait for."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, tmp_path / "data"], stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout
        owner.stdout.readline()
        with pytest.raises(
            FolderInUse, match=rf"another running instance \(process {owner.pid}\)"
        ):
            lock_folder(tmp_path / "data", patience_seconds=3600)
        owner.kill()


def test_short_paths_stay_and_long_ones_get_a_link(tmp_path: Path) -> None:
    """The link leads to the folder, fits an address, and is the same each time."""
    assert reachable(tmp_path, "s") == tmp_path
    long = tmp_path / ("x" * 100) / ("y" * 100)
    long.mkdir(parents=True)
    link = reachable(long, "valkey.sock")
    assert link.samefile(long)
    assert len(os.fsencode(link / "valkey.sock")) <= 107
    assert link.parent.stat().st_mode & 0o077 == 0
    assert reachable(long, "valkey.sock") == link
    long.rmdir()
    other = tmp_path / ("x" * 100) / ("z" * 100)
    other.mkdir()
    assert reachable(other, "valkey.sock").samefile(other)
    assert not link.is_symlink()  # links to folders that are gone are dropped


def test_a_large_log_is_replaced(tmp_path: Path) -> None:
    """Between starts and while its engine runs; what it held stays beside it."""
    log = tmp_path / "logs" / "postgres.log"
    os.close(open_log(log)[0])
    os.truncate(log, LOG_BYTES + 1)
    descriptor, size = open_log(log)
    assert size == 0
    os.truncate(log, LOG_BYTES + 1)
    trim_log(log)
    os.write(descriptor, b"goes on\n")
    os.close(descriptor)
    assert log.read_bytes() == b"goes on\n"
    assert (tmp_path / "logs" / "postgres.log.1").stat().st_size == LOG_BYTES + 1


def test_a_log_that_cannot_be_opened(tmp_path: Path) -> None:
    """The message names it."""
    (tmp_path / "logs").write_text("")
    with pytest.raises(EngineError, match=r"postgres\.log cannot be used"):
        open_log(tmp_path / "logs" / "postgres.log")
