"""Runs one function on untrusted content in confined children, so that a bomb fails one call.

A `Sandbox` keeps `children` processes, each with a thread that starts it, hands it one call at a
time and replaces it when it dies, grows or gets old. It knows nothing of pictures: the target is
any importable function whose arguments and result msgspec can encode (dataclasses, Structs,
builtins, bytes). Children outlive calls, so code that takes one over could see later calls within
that child, until it is replaced; it can reach nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from types import TracebackType
from typing import Generic, TypeVar

from atelier.errors import AtelierError, Unavailable
from atelier.sandbox.child import Child, NotReady, Plan
from atelier.sandbox.failures import DecodeCrashed, DecodeFailed, DecodeMemory, DecodeTimeout
from atelier.sandbox.seccomp import seccomp_available

__all__ = [
    "DecodeCrashed",
    "DecodeFailed",
    "DecodeMemory",
    "DecodeTimeout",
    "Sandbox",
    "seccomp_available",
]

T = TypeVar("T")

_log = logging.getLogger(__name__)

WORN = "worn"  # why a child ended that is old, has grown, or died between two calls

_PATIENCE = 30.0
"""Longest pause between two attempts to start a child, in seconds."""


class _Job(Generic[T]):
    def __init__(self, arguments: tuple[object, ...]) -> None:
        self.arguments = arguments
        self.future: Future[T] = Future()
        self.child: Child[T] | None = None


class Sandbox(Generic[T]):
    """A pool of children that run `target` ("module:qualname"), whose result is of type `returns`.

    `seconds` bound one call from the moment a child takes it, `memory` bytes its addition to an
    idle child's address space, `answer` bytes its result. `warm_up` names a function that a child
    calls with `warm_up_args` before it is confined: it must import and open everything that the
    target will ever need. `path` lists folders in which children find modules beside the installed
    ones. A child is replaced after `calls` calls or when its resident size has grown by `growth`
    bytes; `on_end` is told why each replaced child ended, from any thread. Make one per process,
    after any fork; use it from any thread or event loop.
    """

    def __init__(
        self,
        target: str,
        returns: type[T],
        *,
        children: int,
        seconds: float,
        memory: int,
        warm_up: str | None = None,
        warm_up_args: Sequence[object] = (),
        path: Sequence[str] = (),
        answer: int = 256 * 2**20,
        calls: int = 5_000,
        growth: int = 256 * 2**20,
        on_end: Callable[[str], None] | None = None,
    ) -> None:
        plan = Plan(
            target,
            returns,
            seconds,
            memory,
            warm_up,
            tuple(warm_up_args),
            tuple(path),
            answer=answer,
            calls=calls,
            growth=growth,
        )
        self._owner = os.getpid()
        self._line: _Line[T] = _Line()
        self._minders = [_Minder(plan, self._line, number, on_end) for number in range(children)]
        for minder in self._minders:
            minder.start()

    async def call(self, *arguments: object) -> T:
        """Run the function; cancelling it kills the child and so frees its place.

        DecodeTimeout, DecodeMemory, DecodeCrashed or plain DecodeFailed say how this content
        failed; an AtelierError that the function raised comes back as its kind; Unavailable means
        that no child can be started (try later).
        """
        job = self._submit(arguments)
        try:
            return await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:
            self._line.abandon(job)
            raise

    def call_sync(self, *arguments: object) -> T:
        """`call` for a caller without an event loop."""
        job = self._submit(arguments)
        try:
            return job.future.result()
        except BaseException:
            self._line.abandon(job)  # a no-op unless the wait itself was interrupted
            raise

    def close(self) -> None:
        """End all children; calls that wait or run fail with Unavailable."""
        # A forked copy owns neither the children nor the threads.
        if os.getpid() != self._owner:
            return
        for minder in self._minders:
            minder.stop()
        self._line.close()
        for minder in self._minders:
            minder.join()

    async def aclose(self) -> None:
        """`close` without blocking the event loop."""
        await asyncio.to_thread(self.close)

    def __enter__(self) -> Sandbox[T]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _submit(self, arguments: tuple[object, ...]) -> _Job[T]:
        if os.getpid() != self._owner:
            raise RuntimeError("a Sandbox does not survive a fork: make one in each process")
        job: _Job[T] = _Job(arguments)
        self._line.put(job)
        return job


class _Line(Generic[T]):
    """The queue between jobs and minders: jobs wait for minders, idle minders for jobs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: deque[_Job[T]] = deque()
        self._idle: list[_Minder[T]] = []
        self._serving = 0
        self.closed = False

    def put(self, job: _Job[T]) -> None:
        with self._lock:
            if self.closed:
                raise Unavailable("The sandbox is closed.")
            self._jobs.append(job)
            self._wake_one()

    def take(self, minder: _Minder[T]) -> _Job[T] | None:
        """Take the next job, or None: the minder is then woken when one comes."""
        with self._lock:
            if self._jobs:
                return self._jobs.popleft()
            if minder not in self._idle:
                self._idle.append(minder)
            return None

    def leave(self, minder: _Minder[T]) -> None:
        """Stop waiting; a job for which this minder was just woken goes to another."""
        with self._lock:
            if minder in self._idle:
                self._idle.remove(minder)
            elif self._jobs:
                self._wake_one()

    def serving(self, change: int) -> None:
        """Count the children that are up."""
        with self._lock:
            self._serving += change

    def give_up(self) -> None:
        """Fail the waiting jobs if no child is up to take them."""
        with self._lock:
            if self._serving:
                return
            jobs, self._jobs = self._jobs, deque()
        _fail(jobs, "the decoder cannot be started")

    def begin(self, job: _Job[T], child: Child[T]) -> bool:
        """Mark a job as running; false if it has been cancelled."""
        with self._lock:
            if not job.future.set_running_or_notify_cancel():
                return False
            job.child = child
            return True

    def end(self, job: _Job[T]) -> None:
        with self._lock:
            job.child = None

    def abandon(self, job: _Job[T]) -> None:
        """Cancel a job; kills the child that runs it, and no other."""
        job.future.cancel()
        with self._lock:
            if job.child is not None:
                job.child.kill()

    def close(self) -> None:
        with self._lock:
            self.closed = True
            jobs, self._jobs = self._jobs, deque()
        _fail(jobs, "the sandbox is closed")

    def _wake_one(self) -> None:
        if self._idle:
            # The one that served last: its caches are warm.
            self._idle.pop().wake()


def _fail(jobs: deque[_Job[T]], reason: str) -> None:
    for job in jobs:
        if job.future.set_running_or_notify_cancel():
            job.future.set_exception(Unavailable(reason))


class _Minder(threading.Thread, Generic[T]):
    """The thread that starts one child after the other and speaks with it.

    The kernel kills a child when the thread that started it ends (PR_SET_PDEATHSIG), hence a
    thread that stays.
    """

    def __init__(
        self, plan: Plan[T], line: _Line[T], number: int, on_end: Callable[[str], None] | None
    ) -> None:
        super().__init__(name=f"sandbox-{number}", daemon=True)
        self._plan = plan
        self._line = line
        self._child: Child[T] | None = None
        self._stopping = False
        self._on_end = on_end
        self._reason = WORN
        self._lock = threading.Lock()
        self._ear, self._mouth = os.pipe()
        os.set_blocking(self._ear, False)

    def run(self) -> None:
        failures = 0
        while not self._stopping:
            try:
                with closing(self._start()) as child:
                    failures = 0
                    self._serve(child)
                self._tell_end(self._reason)
            except Exception as reason:
                self._tell_end("not-started" if isinstance(reason, NotReady) else "crashed")
                self._recover(reason, failures)
                failures += 1
        with self._lock:
            os.close(self._ear)
            os.close(self._mouth)

    def _tell_end(self, reason: str) -> None:
        self._reason = WORN
        if self._on_end is not None and not self._stopping:
            self._on_end(reason)

    def wake(self) -> None:
        os.write(self._mouth, b"!")

    def stop(self) -> None:
        """End the child and the thread, even in the middle of a call."""
        with self._lock:
            if self._stopping:
                return
            self._stopping = True
            if self._child is not None:
                self._child.kill()
            self.wake()

    def _start(self) -> Child[T]:
        child = Child(self._plan)
        with self._lock:
            self._child = child
            if self._stopping:
                child.kill()
        try:
            if not child.start():
                _log.warning(
                    "the decoder runs without seccomp: this machine or kernel has none that we "
                    "know"
                )
        except BaseException:
            child.close()
            raise
        return child

    def _serve(self, child: Child[T]) -> None:
        self._line.serving(1)
        try:
            while not self._stopping and child.fit:
                job = self._line.take(self)
                if job is not None:
                    self._do(job, child)
                elif child.wait(None, self._ear):
                    return
                else:
                    self._hear()
        finally:
            self._line.serving(-1)
            self._line.leave(self)

    def _do(self, job: _Job[T], child: Child[T]) -> None:
        if not self._line.begin(job, child):
            return
        try:
            result = child.call(job.arguments)
        except BaseException as error:
            self._line.end(job)
            self._reason = error.slug if isinstance(error, DecodeFailed) else WORN
            if not isinstance(error, AtelierError | TypeError):
                child.kill()  # its socket may still hold the rest of an answer
            closed = self._stopping and isinstance(error, DecodeCrashed)
            job.future.set_exception(Unavailable("The sandbox is closed.") if closed else error)
        else:
            self._line.end(job)
            job.future.set_result(result)

    def _hear(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._ear, 64)

    def _recover(self, reason: Exception, failures: int) -> None:
        if self._stopping:
            return
        _log.error(
            "a decoder does not start: %s", reason, exc_info=not isinstance(reason, NotReady)
        )
        self._line.give_up()
        self._nap(min(2.0**failures, _PATIENCE))

    def _nap(self, seconds: float) -> None:
        """Wait, unless stopped; jobs that come meanwhile fail at the next attempt."""
        ear = select.poll()
        ear.register(self._ear, select.POLLIN)
        ear.poll(seconds * 1000)
