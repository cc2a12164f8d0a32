"""One child process as its parent sees it: start it, call it, find out why it died.

The parent trusts nothing that the child says. Start the child in a thread that lives at least as
long as the child should: the kernel ties the child's life to that thread.
"""

from __future__ import annotations

import logging
import math
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

import atelier
from atelier.errors import AtelierError
from atelier.sandbox.failures import DecodeCrashed, DecodeFailed, DecodeMemory, DecodeTimeout
from atelier.sandbox.frames import BadFrame, Channel
from atelier.sandbox.inside import OUT_OF_MEMORY, Order, Ready, Reply

T = TypeVar("T")

_log = logging.getLogger(__name__)

_BOOT = (
    "import sys; sys.path += sys.argv[3:]; from atelier.sandbox.inside import main; "
    "main(*sys.argv[1:3])"
)
_STDERR = 4_096
"""Bytes kept of the child's standard error, from its end."""

_DETAIL = 500
"""Characters kept of a child's reason."""

_EXIT = 2.0
"""Seconds that a child has to exit after it closed its socket."""

_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "MALLOC_ARENA_MAX": "2",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "VIPS_CONCURRENCY": "1",
    "VIPS_BLOCK_UNTRUSTED": "1",
}
_INHERITED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH")
"""Library paths for an interpreter outside the system's folders, and for libfribidi."""


@dataclass(frozen=True)
class Plan(Generic[T]):
    """The function that every child of one sandbox runs, and its limits."""

    target: str
    returns: type[T]
    seconds: float
    memory: int
    warm_up: str | None = None
    warm_up_args: tuple[object, ...] = ()
    path: tuple[str, ...] = ()
    start_seconds: float = 60.0
    answer: int = 256 * 2**20
    calls: int = 5_000
    growth: int = 256 * 2**20
    own_path: str = field(default=str(Path(atelier.__file__).parent.parent))


class NotReady(Exception):
    """The child could not be started."""


class Child(Generic[T]):
    """A confined child process, and the socket to it."""

    def __init__(self, plan: Plan[T]) -> None:
        self._plan = plan
        self._stderr = bytearray()
        self._calls = 0
        self._spent = False
        self._closed = False
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = _spawn(plan, theirs)
        except BaseException:
            ours.close()
            raise
        self._channel = Channel(ours, plan.answer)
        self._errors = self._process.stderr.fileno() if self._process.stderr else -1
        os.set_blocking(self._errors, False)
        self._poll = select.poll()
        self._poll.register(ours, select.POLLIN)
        self._poll.register(self._errors, select.POLLIN)
        self._statm = _open_statm(self._process.pid)
        self._size = 0

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def start(self) -> bool:
        """Wait for the warm-up; true if seccomp holds.

        Raises NotReady if the child cannot serve.
        """
        plan = self._plan
        deadline = time.monotonic() + plan.start_seconds
        order = Order(plan.target, plan.warm_up, list(plan.warm_up_args), plan.memory)
        try:
            self._channel.send(order, deadline)
            self.wait(deadline)
            ready = msgspec.convert(self._channel.receive(deadline), Ready)
        except (EOFError, TimeoutError, BadFrame, msgspec.ValidationError) as error:
            self.close()
            raise NotReady(f"{type(error).__name__}, {self._ending()}: {self._said()}") from None
        self._size = self._resident()
        return ready.confined

    def call(self, arguments: tuple[object, ...]) -> T:
        """Run the function in the child.

        Raises DecodeFailed or one of its kinds when the call fails, and the function's own
        AtelierError as the function raised it.
        """
        self._calls += 1
        deadline = time.monotonic() + self._plan.seconds
        self._limit_cpu()
        try:
            self._channel.send(arguments, deadline)
            self.wait(deadline)
            reply = msgspec.convert(self._channel.receive(deadline), Reply)
            if reply.status == "done":
                return msgspec.convert(reply.value, self._plan.returns)
        except TimeoutError:
            self.close()
            raise self._timeout() from None
        except EOFError:
            self.close(grace=_EXIT)
            raise self._post_mortem() from None
        except (BadFrame, msgspec.ValidationError):
            self.close()
            _log.warning("the decoder broke the protocol; stderr: %s", self._said())
            raise DecodeCrashed("The decoder gave no proper answer.") from None
        raise self._failure(reply)

    def wait(self, deadline: float | None, wake: int = -1) -> bool:
        """Wait until the child speaks or dies (true), or `wake` is readable (false).

        Raises TimeoutError at the deadline.
        """
        if wake >= 0:
            self._poll.register(wake, select.POLLIN)
        try:
            while True:
                left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
                ready = {descriptor for descriptor, _ in self._poll.poll(left)}
                if not ready:
                    raise TimeoutError
                if self._errors in ready:
                    self._listen()
                if self._channel.sock.fileno() in ready:
                    return True
                if wake in ready:
                    return False
        finally:
            if wake >= 0:
                self._poll.unregister(wake)

    @property
    def fit(self) -> bool:
        """True if the child may serve another call: alive, neither old nor grown."""
        return (
            not self._spent
            and self._calls < self._plan.calls
            and self._resident() <= self._size + self._plan.growth
            and self._process.poll() is None
        )

    def kill(self) -> None:
        """End the child from any thread; a thread that waits for it sees it die."""
        self._spent = True
        self._process.kill()

    def close(self, grace: float = 0.0) -> None:
        """End the child and free its resources.

        For `grace` seconds it may end by itself, so that the reason is known.
        """
        if self._closed:
            return
        self._spent = self._closed = True
        with suppress(subprocess.TimeoutExpired):
            if grace:
                self._process.wait(grace)
        self._process.kill()
        self._process.wait()
        self._listen()
        self._channel.sock.close()
        if self._process.stderr:
            self._process.stderr.close()
        if self._statm >= 0:
            os.close(self._statm)

    def _failure(self, reply: Reply) -> Exception:
        if reply.status == "refused":
            return _error(reply)
        if reply.status == "misused":
            return TypeError(reply.detail[:_DETAIL])
        if reply.detail:
            _log.warning("a decoder failed: %s", _printable(reply.detail))
        if reply.status == "memory":
            self._spent = True  # memory that it could not free would fail the next picture too
            return self._hungry()
        return DecodeFailed("The decoder failed on this content.")

    def _post_mortem(self) -> DecodeFailed:
        code = self._process.returncode
        _log.warning("a decoder died (%s); stderr: %s", self._ending(), self._said())
        if code == -signal.SIGXCPU:
            return self._timeout()
        if OUT_OF_MEMORY.search(self._stderr.decode("utf-8", "replace")):
            return self._hungry()
        return DecodeCrashed(f"The decoder crashed ({self._ending()}).")

    def _ending(self) -> str:
        code = self._process.returncode
        if code is None or code >= 0:
            return f"exit status {code}"
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"

    def _timeout(self) -> DecodeTimeout:
        return DecodeTimeout(f"Decoding took longer than {self._plan.seconds:g} s.")

    def _hungry(self) -> DecodeMemory:
        return DecodeMemory(
            f"Decoding needs more than {self._plan.memory // 2**20} MiB of memory."
        )

    def _listen(self) -> None:
        """Keep the end of the child's standard error."""
        try:
            said = os.read(self._errors, 65_536)
        except BlockingIOError:
            return
        if not said:
            with suppress(KeyError):
                self._poll.unregister(self._errors)
        self._stderr += said
        del self._stderr[:-_STDERR]

    def _said(self) -> str:
        return _printable(self._stderr.decode("utf-8", "replace").strip())

    def _resident(self) -> int:
        if self._statm < 0 or self._closed:
            return 0
        try:
            return int(os.pread(self._statm, 128, 0).split()[1]) * resource.getpagesize()
        except (OSError, IndexError):
            return 0

    def _limit_cpu(self) -> None:
        """Let the kernel end a call even if this process is stopped and cannot kill the child."""
        if sys.platform != "linux":
            return
        clock = (
            ~self._process.pid << 3
        ) | 2  # the CPU-time clock of that process, as clock_getcpuclockid(3) computes it
        with suppress(OSError):
            soft = math.ceil(time.clock_gettime(clock) + self._plan.seconds) + 1
            resource.prlimit(
                self._process.pid, resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY)
            )


def _spawn(plan: Plan[Any], theirs: socket.socket) -> subprocess.Popen[bytes]:
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    descriptor = theirs.fileno()
    return subprocess.Popen(  # noqa: S603 - our own interpreter, our own code
        [
            sys.executable,
            "-I",
            "-c",
            _BOOT,
            str(os.getpid()),
            str(descriptor),
            *plan.path,
            plan.own_path,
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        bufsize=0,
        pass_fds=(descriptor,),
        cwd="/",
        env=_ENVIRONMENT | environment,
        process_group=0,
    )


def _open_statm(pid: int) -> int:
    """Open a child's memory figures (resident pages are the second); -1 if there is no /proc."""
    try:
        return os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def _error(reply: Reply) -> AtelierError:
    """Make the nearest error that this process knows: a child's names are never imported."""
    known = _kinds(AtelierError)
    for name in reply.kinds:
        if name in known:
            error = known[name](reply.detail[:_DETAIL])
            error.slug = reply.slug[:_DETAIL] or error.slug
            return error
    return DecodeFailed("The decoder failed on this content.")


def _kinds(base: type[AtelierError]) -> dict[str, type[AtelierError]]:
    found = {f"{base.__module__}.{base.__qualname__}": base}
    for kind in base.__subclasses__():
        found |= _kinds(kind)
    return found


def _printable(text: str) -> str:
    """Make a text safe for one log line: it cannot forge another."""
    return "".join(char if char.isprintable() else " | " if char == "\n" else "?" for char in text)
