"""The ties between a child and its parent: who dies with whom, and who may own a sandbox."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sandbox_tools import FOLDER, alive, cpu_seconds, open_sandbox

from atelier.sandbox.frames import Channel
from atelier.sandbox.inside import Order, Ready
from tests.waiting import PATIENCE_SECONDS, gone, until

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(__file__).with_name("sandbox_parents.py")


@contextmanager
def program(name: str) -> Iterator[subprocess.Popen[str]]:
    """Run one of the programs; it does not outlive the test."""
    command = [sys.executable, str(PROGRAM), name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0) as process:
        try:
            yield process
        finally:
            process.kill()


def children_of(pid: int) -> list[int]:
    """The processes that a process has started, by whichever of its threads."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in lists for child in path.read_text().split()]


def pids(process: subprocess.Popen[str]) -> list[int]:
    """Read the pids that a program prints."""
    assert process.stdout
    return [int(word) for word in process.stdout.readline().split()]


def test_killed_parent_leaves_no_orphan() -> None:
    """When the parent is killed with -9, its working child and its idle one die."""
    with program("busy") as process:
        children = pids(process)
        assert len(children) == 2
        assert all(alive(child) for child in children)
        process.kill()
        gone(*children)


def test_killed_parent_leaves_no_child_that_starts() -> None:
    """A child that is still warming up dies with its parent as well."""
    with program("starting") as process:
        until(lambda: children_of(process.pid))
        (child,) = children_of(process.pid)
        until(lambda: b"inside" in Path(f"/proc/{child}/cmdline").read_bytes())
        process.kill()
        gone(child)


def test_stopped_parent_does_not_let_a_child_run_for_ever() -> None:
    """The kernel ends a call that takes too much processor time even when the parent cannot."""
    with program("stopped") as process:
        children = pids(process)
        used = sum(map(cpu_seconds, children))
        until(lambda: sum(map(cpu_seconds, children)) > used + 0.1)
        process.send_signal(signal.SIGSTOP)
        until(lambda: sum(alive(child) for child in children) == 1)
        process.kill()
        gone(*children)


def test_parent_that_ends_without_closing_leaves_nothing() -> None:
    """A program that forgets to close its sandbox ends, and so do its children."""
    with program("forgetful") as process:
        (child,) = pids(process)
        assert process.wait(PATIENCE_SECONDS) == 0
        gone(child)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("interrupted", "done"),
        ("daemon", "from a daemon"),
        ("spawned_daemon", "from a daemon"),
        ("forked", "a Sandbox does not survive a fork: make one in each process\nstill works"),
    ],
)
def test_programs(name: str, said: str) -> None:
    """Interrupts do not reach children; a daemonic process may own some.

    A fork may not use its parent's.
    """
    with program(name) as process:
        assert process.communicate(timeout=PATIENCE_SECONDS)[0].strip() == said
        assert process.returncode == 0


def test_outlives_the_thread_that_made_it() -> None:
    """A sandbox made in a thread that has ended serves other threads."""
    made: list[Any] = []
    maker = threading.Thread(target=lambda: made.append(open_sandbox()))
    maker.start()
    maker.join()
    with made[0] as sandbox:
        pid = sandbox.call_sync("pid")
        answers: list[int] = []
        user = threading.Thread(target=lambda: answers.append(sandbox.call_sync("pid")))
        user.start()
        user.join()
    assert answers == [pid]


def test_child_ends_when_its_socket_is_closed() -> None:
    """Where no signal tells of the parent's death, the end of the socket does."""
    ours, theirs = socket.socketpair()
    code = (
        "import sys; sys.path.append(sys.argv[3]); from atelier.sandbox.inside import main; "
        "main(*sys.argv[1:3])"
    )
    command = [sys.executable, "-c", code, str(os.getpid()), str(theirs.fileno()), FOLDER]
    with subprocess.Popen(command, pass_fds=(theirs.fileno(),)) as process:
        theirs.close()
        channel = Channel(ours)
        channel.send(Order("sandbox_targets:act", None, [], 2**30))
        assert set(channel.receive()) == set(Ready.__struct_fields__)
        ours.close()
        assert process.wait(PATIENCE_SECONDS) == 0


def test_child_of_a_parent_that_is_gone_already_ends() -> None:
    """A child whose parent died before it could ask to follow it does not start."""
    command = [sys.executable, "-c", "from atelier.sandbox.inside import main; main('1', '0')"]
    assert subprocess.run(command, check=False, timeout=PATIENCE_SECONDS).returncode == 0
