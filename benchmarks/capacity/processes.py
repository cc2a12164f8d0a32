"""The server's processes on this machine, found from the port they serve; empty when they are elsewhere or hidden."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from dataclasses import dataclass
from pathlib import Path

LISTENING = "0A"
ENGINES = ("postgres", "valkey-server", "redis-server")
TICKS = os.sysconf("SC_CLK_TCK")

_ROLE = re.compile(r"^(api|processor|archiver|relay|grpc|up)$")


@dataclass(frozen=True, slots=True)
class Process:
    """A live process."""

    pid: int
    parent: int
    words: tuple[str, ...]


def server(port: int) -> dict[int, str]:
    """The processes that serve the port, with all that belong to the same `atelier up`: pid -> role."""
    everyone = _everyone()
    family = {_root(pid, everyone) for pid in listeners(port) if pid in everyone}
    grown = set(family)
    while grown:
        grown = {pid for pid, process in everyone.items() if process.parent in grown and pid not in family}
        family |= grown
    return {pid: _role(pid, everyone) for pid in family}


def listeners(port: int) -> set[int]:
    """The processes that listen on a TCP port of this machine, as far as this user may see."""
    sockets = {socket for socket, number in _listening().items() if number == port}
    return {pid for pid in _pids() if sockets & _sockets(pid)} if sockets else set()


def ports(pid: int) -> list[int]:
    """The TCP ports on which a process listens."""
    listening = _listening()
    return sorted({listening[socket] for socket in _sockets(pid) & listening.keys()})


def cpu_seconds(pid: int) -> float | None:
    """CPU time of a process, all its threads; none when it is gone.

    In nanoseconds where the kernel counts them: in its ticks of 10 ms a lightly loaded process has none.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        return (
            sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9
        )
    return _ticks(pid, 11)


def reaped_seconds(pid: int) -> float:
    """CPU time of the children of a process that have ended, and of theirs."""
    return _ticks(pid, 13) or 0.0


def _ticks(pid: int, first: int) -> float | None:
    """The sum of two neighbouring times in /proc/PID/stat, user's and system's, in seconds."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[first]) + int(fields[first + 1])) / TICKS
    return None


def environment(pid: int) -> dict[str, str]:
    """The environment with which a process began; empty when this user may not read it."""
    with contextlib.suppress(OSError):
        pairs = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
        return dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    return {}


def cores_of(pid: int) -> int | None:
    """Cores on which a process may run."""
    with contextlib.suppress(OSError, AttributeError):
        return len(os.sched_getaffinity(pid))
    return None


def _pids() -> list[int]:
    with contextlib.suppress(OSError):
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return []


def _listening() -> dict[str, int]:
    """Every listening TCP socket of this machine, as it is called in /proc: its port."""
    found = {}
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == LISTENING:
                    found[f"socket:[{words[9]}]"] = int(words[1].rpartition(":")[2], 16)
    return found


def _sockets(pid: int) -> set[str]:
    """What a process holds open; empty when this user may not see it."""
    found = set()
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(entry.readlink()))
    return found


def _everyone() -> dict[int, Process]:
    found = {}
    for pid in _pids():
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
            found[pid] = Process(pid, parent, tuple(word for word in words if word))
    return found


def _root(pid: int, everyone: dict[int, Process]) -> int:
    """The supervisor above a process; itself when there is none."""
    above = pid
    while above in everyone:
        if _named(everyone[above]) == "up":
            return above
        above = everyone[above].parent
    return pid


def _role(pid: int, everyone: dict[int, Process]) -> str:
    """What a process is: by its own command line, else by its parent's (a sandboxed child, a database's process)."""
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
