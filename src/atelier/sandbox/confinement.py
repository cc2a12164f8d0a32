"""Confines a process before untrusted content: privileges, memory, files, death with its parent.

Knows nothing of the work that follows. Off Linux only POSIX limits remain. RLIMIT_NPROC is left
alone: it counts all processes of the user, so it would refuse our own threads; seccomp refuses new
processes instead.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

from atelier.sandbox import capabilities, seccomp

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38

_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals that a terminal or an init system sends to all; the parent ends its own children."""

_OOM_SCORE = b"500"
"""Makes the kernel prefer this process to its parent when memory is short (-1000..1000)."""

_OPEN_FILES = 1024
"""The usual soft limit, which our parent has raised: a decoder may call select()."""


def follow(parent: int) -> None:
    """Die with the thread that started this process; exit at once if it is gone already."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_bytes(_OOM_SCORE)
    if os.getppid() != parent:
        os._exit(0)


def confine(memory: int) -> bool:
    """Drop everything that computing does not need, leaving `memory` bytes to grow by.

    Returns true if seccomp holds.
    """
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    if sys.platform != "linux":
        return False
    _limit(resource.RLIMIT_AS, _address_space() + memory)
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    capabilities.give_up_all()  # root's, or the one to read that root has left to our parent
    if not seccomp.seccomp_available():
        return False
    seccomp.install()
    return True


def _limit(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_bytes().split()[0])
    return pages * resource.getpagesize()


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
