"""Programs that own a sandbox, for tests that end its parent: `python sandbox_parents.py NAME`."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from sandbox_tools import AMPLE_SECONDS, open_sandbox

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue


def say(*words: object) -> None:
    """Tell the test."""
    print(*words, flush=True)  # noqa: T201 - its standard output is what the test reads


def busy(action: str = "sleep", seconds: float = AMPLE_SECONDS) -> None:
    """Own one child that works and one that idles, until killed."""
    sandbox = open_sandbox(children=2, seconds=seconds)
    pids: set[int] = set()
    while len(pids) < 2:
        calls = [
            threading.Thread(target=lambda: pids.add(sandbox.call_sync("sleep", 0.1)))
            for _ in range(2)
        ]
        for call in calls:
            call.start()
        for call in calls:
            call.join()
    threading.Thread(target=sandbox.call_sync, args=(action, 600), daemon=True).start()
    say(*pids)
    time.sleep(600)


def starting() -> None:
    """Own a child that is still warming up, until killed."""
    open_sandbox(warm_up="sandbox_targets:linger", warm_up_args=[600])
    time.sleep(600)


def stopped() -> None:
    """Own a child that spins within a limit of five seconds."""
    busy("spin", 5)


def forgetful() -> None:
    """End without closing the sandbox."""
    sandbox = open_sandbox()
    say(sandbox.call_sync("pid"))


def interrupted() -> None:
    """Make a call that an interrupt for the whole process group must not disturb."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with open_sandbox() as sandbox:
        sandbox.call_sync("pid")
        threading.Timer(0.3, os.killpg, (os.getpgrp(), signal.SIGINT)).start()
        sandbox.call_sync("sleep", 1)
        say("done")


def daemon(method: str = "fork") -> None:
    """Use a sandbox in a daemonic process, as a Celery worker of the prefork pool is one."""
    context: Any = multiprocessing.get_context(method)
    answers = context.SimpleQueue()
    process = context.Process(target=echo, args=(answers,), daemon=True)
    process.start()
    process.join()
    say(answers.get())


def spawned_daemon() -> None:
    """Do the same in a process that is a fresh interpreter."""
    daemon("spawn")


def echo(answers: SimpleQueue[Any]) -> None:
    """Answer with what a sandboxed call gives."""
    with open_sandbox() as sandbox:
        answers.put(sandbox.call_sync("echo", "from a daemon"))


def forked() -> None:
    """Use in a fork what the parent has made."""
    with open_sandbox() as sandbox:
        sandbox.call_sync("pid")
        pid = os.fork()
        if pid == 0:
            try:
                sandbox.call_sync("pid")
            except RuntimeError as error:
                say(error)
            sandbox.close()
            os._exit(0)
        os.waitpid(pid, 0)
        say(sandbox.call_sync("echo", "still works"))


if __name__ == "__main__":
    globals()[sys.argv[1]]()
