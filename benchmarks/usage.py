"""CPU time and memory of a benchmark's processes, read by psutil."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import psutil


class Cpu(NamedTuple):
    """CPU time in seconds, to the kernel's tick (10 ms)."""

    own: float
    """Of the process, all its threads."""
    reaped: float
    """Of its children that have ended and were waited for, and of theirs."""


def cpu(pid: int) -> Cpu:
    """CPU time of a process so far. Raises psutil.Error."""
    times = psutil.Process(pid).cpu_times()
    return Cpu(times.user + times.system, times.children_user + times.children_system)


def cpu_seconds(*pids: int) -> float:
    """CPU time of processes so far, their children not included. Raises psutil.Error."""
    return sum(cpu(pid).own for pid in pids)


def family(pid: int) -> list[psutil.Process]:
    """A process and its live descendants. Raises psutil.NoSuchProcess."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def peak_kib(pid: int) -> int:
    """The most memory that a process has had resident, in KiB; on Linux psutil cannot say it."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])
