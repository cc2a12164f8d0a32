"""The processes of a running instance by kind: what a campaign may kill or stop."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.system.instance import processes

if TYPE_CHECKING:
    from collections.abc import Iterator

SUPERVISOR = "supervisor"
GUARD = "guard"
BACKEND = "postgres backend"
KINDS = (
    SUPERVISOR,
    GUARD,
    "api",
    "grpc",
    "processor",
    "archiver",
    "relay",
    "files",
    "files child",
    "sandbox",
    "postgres",
    BACKEND,
    "postgres helper",
    "valkey",
)
MODULES = {"celery": "files", "atelier": None}  # None: the role is the next word
PREFIX = "postgres: "  # of the title that PostgreSQL gives to each process of a server
SANDBOX = "atelier.sandbox.inside"


def victims(root: int) -> dict[str, list[int]]:
    """The live processes of the instance with this supervisor: kind -> pids, in order.

    A process that is no kind of ours is called after its parent: `relay child`.
    """
    everyone = processes()
    children: dict[int, list[int]] = defaultdict(list)
    for pid, (parent, _) in sorted(everyone.items()):
        children[parent].append(pid)
    found: dict[str, list[int]] = defaultdict(list)

    def add(pid: int, kind: str) -> None:
        found[kind].append(pid)
        for child in children[pid]:
            add(child, _kind(everyone[child][1], kind, everyone[pid][1]))

    if root in everyone:
        add(root, SUPERVISOR)
    return found


def _kind(words: list[str], above: str, words_above: list[str]) -> str:
    if above == SUPERVISOR:
        return _under_supervisor(words, words_above)
    if above == "postgres":
        ours = words[0].startswith(f"{PREFIX}atelier_")  # by the names of its two roles
        return BACKEND if ours else "postgres helper"
    if any(SANDBOX in word for word in words):
        return "sandbox"
    return above if above.endswith(" child") else f"{above} child"


def _under_supervisor(words: list[str], words_above: list[str]) -> str:
    if words == words_above:
        return GUARD
    if "-m" in words:
        module = words[words.index("-m") + 1]
        return MODULES.get(module) or words[words.index("-m") + 2]
    return Path(words[0]).name.partition("-")[0]


def kill(pid: int) -> None:
    """SIGKILL, unless it has ended by itself."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Let a process stand still, as long as it lives."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        yield
        return
    try:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGSTOP)
        yield
    finally:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGCONT)
        os.close(handle)


def belonging(folder: Path) -> dict[int, list[str]]:
    """Every live process that works in a folder or was started for it, whoever its parent is."""
    place = os.fsencode(folder)
    found = {}
    for pid, (_, words) in processes().items():
        with suppress(OSError):
            entry = Path(f"/proc/{pid}")
            about = os.fsencode((entry / "cwd").readlink()), (entry / "environ").read_bytes()
            if pid != os.getpid() and any(place in text for text in about):
                found[pid] = words
    return found
