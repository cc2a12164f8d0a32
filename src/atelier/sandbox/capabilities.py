"""Linux capabilities: which this process holds, and giving up all but a few with the user id.

By system calls: the standard library knows none. The numbers are from <linux/capability.h> and
<linux/prctl.h>.
"""

from __future__ import annotations

import ctypes
import enum
import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

_SET_KEEPCAPS, _CAPBSET_DROP, _SET_SECUREBITS = 8, 24, 28
_SET_NO_NEW_PRIVS, _CAP_AMBIENT = 38, 47
_NO_SETUID_FIXUP = 1 << 2
_AMBIENT_RAISE = 2
_VERSION_3 = 0x20080522
_LAST = Path("/proc/sys/kernel/cap_last_cap")
_BITS = 32  # of a capability set come in one word


class Capability(enum.IntEnum):
    """Those that are of use here."""

    DAC_OVERRIDE = 1  # read and write every file
    DAC_READ_SEARCH = 2  # read every file and enter every folder
    SETGID = 6
    SETUID = 7
    NET_BIND_SERVICE = 10


OF_FILES = (Capability.DAC_OVERRIDE, Capability.DAC_READ_SEARCH)


def holds(one: Capability) -> bool:
    """Return whether this process may use the capability, and pass it on."""
    return bool(effective() >> one & 1)


def effective() -> int:
    """The capabilities that this process may use, a bit for each."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    found = [line.split()[1] for line in lines.splitlines() if line.startswith("CapEff:")]
    return int(found[0], 16) if found else 0


def give_up_all() -> None:
    """Give up every capability, for this thread and all that it starts."""
    _set(ctypes.CDLL(None, use_errno=True), ())


def become(uid: int, gid: int, kept: Collection[Capability]) -> None:
    """Become this user, with these capabilities and no others, and so is what we execute.

    No program can give back what is given up here, not even one with the set-user-ID bit.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    for number in range(int(_LAST.read_text(encoding="ascii")) + 1):
        if number not in kept:
            with suppress(OSError):  # without CAP_SETPCAP; no_new_privs says the same
                _prctl(libc, _CAPBSET_DROP, number)
    _prctl(libc, _SET_KEEPCAPS, 1)
    if kept:
        with suppress(OSError):  # else access(2) answers as if we had none
            _prctl(libc, _SET_SECUREBITS, _NO_SETUID_FIXUP)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _set(libc, kept)
    for one in kept:
        _prctl(libc, _CAP_AMBIENT, _AMBIENT_RAISE, one)
    _prctl(libc, _SET_NO_NEW_PRIVS, 1)


def _set(libc: ctypes.CDLL, kept: Collection[Capability]) -> None:
    """Set the effective, permitted and inheritable capabilities of this thread."""
    mask = sum(1 << one for one in kept)
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    low, high = mask % (1 << _BITS), mask >> _BITS
    data = (ctypes.c_uint32 * 6)(low, low, low, high, high, high)
    if libc.capset(header, data):
        raise OSError(ctypes.get_errno(), "the capabilities cannot be given up")


def _prctl(libc: ctypes.CDLL, option: int, first: int, second: int = 0) -> None:
    if libc.prctl(option, first, second, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
