"""A seccomp filter for a process that only computes: it can reach nothing but what it holds.

An allow-list, because its callers do nothing after warm-up but compute, allocate, wait, start
threads and talk over one socket; a deny-list would have to name every way out, today's and the
next kernel's. It stays stable across glibc versions because refusals are soft: system calls of the
unified numbering (from 424: clone3, openat2, io_uring, pidfd_*, ...) are answered ENOSYS, at which
libraries fall back to the older call, all others EPERM.

Opening files is refused even for reading, as the process has its parent's user id and so could
read its parent's secrets (/proc/PARENT/environ, key files): files must be loaded before. No memory
becomes executable any more. x86_64 and aarch64 on Linux; `seccomp_available` says if it can be
installed here.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from dataclasses import dataclass
from functools import cache

_SET_MODE_FILTER = 1
_GET_ACTION_AVAIL = 2
_FLAG_TSYNC = 1  # confines every thread that the warm-up left running too
_FLAG_SPEC_ALLOW = 4  # kernels before 5.16 otherwise slow down the process against Spectre

_RET_KILL_PROCESS = 0x80000000
_RET_ALLOW = 0x7FFF0000
_RET_ERRNO = 0x00050000
_EPERM = 1
_ENOSYS = 38

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_ANY_BIT = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K

_OFFSET_NUMBER = 0  # in struct seccomp_data
_OFFSET_ARCH = 4
_OFFSET_ARGUMENT = 16  # eight bytes each, the low half first

_UNIFIED = 424
"""From this number on system calls are the same everywhere; x86_64's x32 calls are above too."""

_CLONE_THREAD = 0x00010000
_PROT_EXEC = 0x4


@dataclass(frozen=True)
class Machine:
    """The system calls of one architecture, by number."""

    audit: int
    seccomp: int
    clone: int
    executable: tuple[int, int]  # mmap, mprotect: their third argument is the protection
    tgkill: int
    allowed: tuple[int, ...]


# Numbers from <asm/unistd_64.h>; the most frequent ones first.
_X86_64 = Machine(
    audit=0xC000003E,
    seccomp=317,
    clone=56,
    executable=(9, 10),
    tgkill=234,
    allowed=(
        *(202, 11, 28, 12, 25),  # futex munmap madvise brk mremap
        *(
            45,
            46,
            44,
            47,
            0,
            1,
            19,
            20,
            3,
            5,
            8,
        ),  # recvfrom sendmsg sendto recvmsg read write readv writev close fstat lseek
        *(
            228,
            229,
            230,
            35,
            96,
            201,
            100,
            98,
            # clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times
            # getrusage
        ),
        *(7, 271, 23, 270),  # poll ppoll select pselect6
        *(
            13,
            14,
            15,
            131,
            219,
        ),  # rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall
        *(39, 186, 24, 204, 309, 99),  # getpid gettid sched_yield sched_getaffinity getcpu sysinfo
        *(
            218,
            273,
            334,
            318,
            60,
            231,
        ),  # set_tid_address set_robust_list rseq getrandom exit exit_group
    ),
)
# Numbers from <asm-generic/unistd.h>.
_AARCH64 = Machine(
    audit=0xC00000B7,
    seccomp=277,
    clone=220,
    executable=(222, 226),
    tgkill=131,
    allowed=(
        *(98, 215, 233, 214, 216),  # futex munmap madvise brk mremap
        *(
            207,
            211,
            206,
            212,
            63,
            64,
            65,
            66,
            57,
            80,
            62,
        ),  # recvfrom sendmsg sendto recvmsg read write readv writev close fstat lseek
        *(
            113,
            114,
            115,
            101,
            169,
            153,
            165,
        ),  # clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday times getrusage
        *(73, 72),  # ppoll pselect6
        *(
            134,
            135,
            139,
            132,
            128,
        ),  # rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall
        *(
            172,
            178,
            124,
            123,
            168,
            179,
        ),  # getpid gettid sched_yield sched_getaffinity getcpu sysinfo
        *(
            96,
            99,
            293,
            278,
            93,
            94,
        ),  # set_tid_address set_robust_list rseq getrandom exit exit_group
    ),
)
MACHINES = {"x86_64": _X86_64, "aarch64": _AARCH64}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


@cache
def seccomp_available() -> bool:
    """True if `install` works on this machine and kernel."""
    machine = _machine()
    if machine is None:
        return False
    action = ctypes.c_uint32(_RET_KILL_PROCESS)
    return bool(_libc().syscall(machine.seccomp, _GET_ACTION_AVAIL, 0, ctypes.byref(action)) == 0)


def install() -> None:
    """Confine all threads of this process for good.

    PR_SET_NO_NEW_PRIVS must be set. Raises OSError if the kernel refuses.
    """
    machine = _machine()
    if machine is None:
        raise OSError(_ENOSYS, "no seccomp filter for this machine")
    code = assemble(machine, os.getpid())
    program = _Program(len(code) // 8, code)
    flags = _FLAG_TSYNC | _FLAG_SPEC_ALLOW
    if _libc().syscall(machine.seccomp, _SET_MODE_FILTER, flags, ctypes.byref(program)) != 0:
        raise OSError(ctypes.get_errno(), "seccomp refused the filter")


def assemble(machine: Machine, pid: int) -> bytes:
    """The filter as classic BPF.

    Every branch ends in a return, so a jump only ever skips the rest of its own branch. The
    accumulator holds the system call's number until an argument is loaded, and no branch goes on
    after that.
    """
    refuse = _op(_RETURN, _RET_ERRNO | _EPERM)
    allow = _op(_RETURN, _RET_ALLOW)
    # Another architecture's numbers mean other calls: a process that switches is killed.
    code = [
        _op(_LOAD, _OFFSET_ARCH),
        _op(_EQUAL, machine.audit, 1, 0),
        _op(_RETURN, _RET_KILL_PROCESS),
        _op(_LOAD, _OFFSET_NUMBER),
        _op(_AT_LEAST, _UNIFIED, 0, 1),
        _op(_RETURN, _RET_ERRNO | _ENOSYS),
    ]
    for number in machine.allowed:
        code += [_op(_EQUAL, number, 0, 1), allow]
    for number in machine.executable:
        code += [
            _op(_EQUAL, number, 0, 4),
            _argument(2),
            _op(_ANY_BIT, _PROT_EXEC, 1, 0),
            allow,
            refuse,
        ]
    code += [
        _op(_EQUAL, machine.clone, 0, 4),
        _argument(0),
        _op(_ANY_BIT, _CLONE_THREAD, 0, 1),
        allow,
        refuse,
    ]
    # abort() and raise() signal the process itself; a crash must stay visible as one.
    code += [
        _op(_EQUAL, machine.tgkill, 0, 4),
        _argument(0),
        _op(_EQUAL, pid, 0, 1),
        allow,
        refuse,
    ]
    return b"".join([*code, refuse])


def _op(code: int, k: int, jump_true: int = 0, jump_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, jump_true, jump_false, k)


def _argument(index: int) -> bytes:
    return _op(_LOAD, _OFFSET_ARGUMENT + 8 * index)


def _machine() -> Machine | None:
    if sys.platform != "linux" or sys.maxsize < 2**32:
        return None
    return MACHINES.get(platform.machine())


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
