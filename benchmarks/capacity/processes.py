"""The server's processes on this machine, found from the port they serve.

Empty when they are elsewhere or belong to another user.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from pathlib import Path
from typing import NamedTuple

import psutil

ENGINES = ("postgres", "valkey-server", "redis-server")

_ROLE = re.compile(r"^(api|processor|archiver|relay|grpc|up)$")


class Process(NamedTuple):
    """A live process."""

    parent: int
    words: list[str]


def server(port: int) -> dict[int, str]:
    """The processes that serve the port, with all of the same `atelier up`: pid -> role."""
    everyone = {
        each.pid: Process(each.info["ppid"], each.info["cmdline"] or [])
        for each in psutil.process_iter(["ppid", "cmdline"])
    }
    family = {_root(pid, everyone) for pid in listeners(port) if pid in everyone}
    grown = set(family)
    while grown:
        grown = {
            pid for pid, each in everyone.items() if each.parent in grown and pid not in family
        }
        family |= grown
    return {pid: _role(pid, everyone) for pid in family}


def listeners(port: int) -> set[int]:
    """Processes that listen on a TCP port of this machine; of those that share a socket, one."""
    return {
        each.pid
        for each in psutil.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
        and each.laddr
        and each.laddr.port == port
        and each.pid
    }


def ports(pid: int) -> list[int]:
    """The TCP ports on which a process listens."""
    with contextlib.suppress(psutil.Error):
        open_sockets = psutil.Process(pid).net_connections("tcp")
        listening = [each for each in open_sockets if each.status == psutil.CONN_LISTEN]
        return sorted({each.laddr.port for each in listening if each.laddr})
    return []


def environment(pid: int) -> dict[str, str]:
    """The environment with which a process began; empty when this user may not read it."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).environ()
    return {}


def cores_of(pid: int) -> int | None:
    """Cores on which a process may run; None when it is gone."""
    with contextlib.suppress(psutil.Error):
        return len(psutil.Process(pid).cpu_affinity() or ())
    return None


def _root(pid: int, everyone: dict[int, Process]) -> int:
    """The supervisor above a process; itself when there is none."""
    above = pid
    while above in everyone:
        if _named(everyone[above]) == "up":
            return above
        above = everyone[above].parent
    return pid


def _role(pid: int, everyone: dict[int, Process]) -> str:
    """A process's role: by its own command line, else by its parent's.

    A sandboxed child and a server process of the database have none of their own.
    """
    while pid in everyone:
        if name := _named(everyone[pid]):
            return name
        pid = everyone[pid].parent
    return "other"


def _named(process: Process) -> str:
    words = process.words
    if not words:
        return ""
    program = Path(words[0].split(":")[0]).name
    if program in ENGINES:
        return program.split("-")[0]
    if "celery" in words and "atelier.files" in words:
        return "files"
    for before, word in itertools.pairwise(words):
        if Path(before).name == "atelier" and _ROLE.match(word):
            return word
    return ""
