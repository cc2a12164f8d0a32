"""Pools of processes that could run a decoder on untrusted content: what they cost and hold.

    python sandboxes.py [--peers OTHER_VENV/bin/python] [--rounds 5]

`--peers` names a Python that has pebble and psutil. The cost is the CPU of the parent and of the
children for a call that gives back its argument. `lost` counts the harmless calls among 60 that
fail, or that have no answer after 20 s, because three others crash, hang or want 4 GiB. `runs
code` tells whether a child that answers what it likes makes its parent run code.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Submit = Callable[..., concurrent.futures.Future[Any]]

HERE = Path(__file__).parent
CHILDREN, SECONDS, MEMORY = 2, 2.0, 512 * 2**20
SIZES = {"60 KB": (60_000, 400), "8 MiB": (8 << 20, 30)}
CALLS, PATIENCE_SECONDS = 60, 20
RAN = "ATELIER_BENCH_RAN"


class Trap:
    """An answer that is a command for the process that unpickles it."""

    def __reduce__(self) -> tuple[object, ...]:
        """Python's own way to rebuild an object."""
        return exec, (f"import os; os.environ[{RAN!r}] = 'yes'",)


def act(how: str, data: bytes) -> Any:
    """Run in a child: give the data back, or misbehave."""
    if how == "crash":
        os.abort()
    elif how == "hang":
        time.sleep(3600)
    elif how == "grow":
        return len(bytearray(4 << 30))
    elif how == "trap":
        return Trap()
    elif how == "open":
        return Path("/etc/hostname").read_bytes()
    return data


def limit() -> None:
    """Run in a child of a library's pool: what a caller can limit by himself."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextmanager
def ours() -> Iterator[Submit]:
    """A thread per call that waits, so that all contestants give futures."""
    from atelier.sandbox.sandbox import Sandbox

    limits = {"children": CHILDREN, "seconds": SECONDS, "memory": MEMORY}
    with (
        Sandbox("sandboxes:act", bytes, path=[str(HERE)], **limits) as sandbox,
        concurrent.futures.ThreadPoolExecutor(CHILDREN + 1) as threads,
    ):
        yield lambda how, data: threads.submit(sandbox.call_sync, how, data)


@contextmanager
def executor() -> Iterator[Submit]:
    """The standard library's; it has no limit of time."""
    spawn = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(CHILDREN, spawn, limit)
    yield lambda how, data: pool.submit(act, how, data)
    for process in list((pool._processes or {}).values()):
        process.kill()


@contextmanager
def pebble() -> Iterator[Submit]:
    """A pool whose calls have a time limit and whose children die one by one."""
    import pebble as library

    spawn = multiprocessing.get_context("spawn")
    with library.ProcessPool(CHILDREN, initializer=limit, context=spawn) as pool:
        yield lambda how, data: pool.schedule(act, (how, data), timeout=SECONDS)
        pool.stop()


CONTESTANTS = {"ours": ours, "ProcessPoolExecutor": executor, "pebble": pebble}


def cpu() -> float:
    """CPU seconds of this process and its children."""
    import psutil

    total = 0.0
    for each in (psutil.Process(), *psutil.Process().children(recursive=True)):
        tasks = Path(f"/proc/{each.pid}/task").iterdir()
        total += sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)
    return total / 1e9


def cost(submit: Submit, size: int, calls: int) -> float:
    """CPU milliseconds of one call."""
    data = bytes(size)
    for _ in range(2 * CHILDREN):
        submit("echo", data).result()
    before = cpu()
    for _ in range(calls):
        assert submit("echo", data).result() == data
    return (cpu() - before) / calls * 1e3


def lost(submit: Submit) -> int:
    """Harmless calls without a proper answer."""
    bad = {10: "crash", 20: "grow", 30: "hang"}
    calls = [submit(bad.get(number, "echo"), b"data") for number in range(CALLS)]
    concurrent.futures.wait(calls, PATIENCE_SECONDS)
    harmless = [call for number, call in enumerate(calls) if number not in bad]
    return sum(1 for call in harmless if not call.done() or call.exception() is not None)


def outcome(submit: Submit, how: str) -> bool:
    """True if the parent got an answer to a call that should not succeed."""
    try:
        submit(how, b"").result(PATIENCE_SECONDS)
    except Exception:
        return False
    return True


def contest(name: str) -> None:
    """Everything about one contestant, in this process."""
    found: dict[str, Any] = {}
    with CONTESTANTS[name]() as submit:
        for label, (size, calls) in SIZES.items():
            found[label] = cost(submit, size, calls)
        found["opens a file"] = outcome(submit, "open")
        outcome(submit, "trap")
        found["runs code"] = RAN in os.environ
    with CONTESTANTS[name]() as submit:
        found["lost"] = lost(submit)
        print(json.dumps(found), flush=True)
        if name != "ours":
            threading.Timer(5, os._exit, (0,)).start()  # what hangs would keep its pool open


def fresh() -> float:
    """CPU milliseconds of a new interpreter that loads a decoder, for one call."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-I", "-c", "import cv2, simplejpeg, PIL.Image"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3


def main() -> None:
    """Run as one contestant, or run all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", help="a Python that has pebble and psutil")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--contestant", choices=CONTESTANTS)
    options = parser.parse_args()
    if options.contestant:
        contest(options.contestant)
        return
    found: dict[str, list[dict[str, Any]]] = {}
    starts = []
    for _ in range(options.rounds):
        for name in CONTESTANTS:
            python = options.peers if name == "pebble" else sys.executable
            if python:
                command = [python, __file__, "--contestant", name]
                said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                found.setdefault(name, []).append(json.loads(said.stdout))
        starts.append(fresh())
    print("| pool | 60 KB, CPU ms | 8 MiB, CPU ms | lost | runs code | opens a file |")
    print("|---|---|---|---|---|---|")
    for name, rounds in found.items():
        cells = [f"{statistics.median(one[label] for one in rounds):.2f}" for label in SIZES]
        cells += (str(rounds[-1][fact]) for fact in ("lost", "runs code", "opens a file"))
        print(f"| {name} | {' | '.join(cells)} |")
    spent = statistics.median(starts)
    print(f"\nA new interpreter with decoders for each call: {spent:.0f} CPU ms.")


if __name__ == "__main__":
    main()
