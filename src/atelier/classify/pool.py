"""Keeps the transforming processes busy, each one picture ahead.

A crash or a hang costs only the picture that caused it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from atelier.classify import frames
from atelier.classify.outcomes import Entry, Failed, Transformed
from atelier.errors import AtelierError

DEPTH = 2
"""Pictures given to a process at once, so that it never waits for its parent."""

START_SECONDS = 60.0
"""Seconds that a process may take to load the decoders, on a busy machine."""

GRACE_SECONDS = 1.0
"""Seconds to wait for the exit status of a process whose socket has closed."""

STREAM_LIMIT = 4 << 20
"""Bytes of answers buffered per process before it has to wait."""

ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "2",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "VIPS_CONCURRENCY": "1",
}
"""One thread per process: there is one process per core already."""

_log = logging.getLogger(__name__)


class WorkerFailed(AtelierError):
    """A transforming process cannot be started."""

    slug = "worker-failed"


@dataclass(frozen=True)
class Work:
    """The work of the transforming processes.

    The limits hold for one picture: pixels, bytes of file, seconds, bytes of memory.
    """

    root: bytes
    rotate: bool = True
    resize: bool = True
    pixels: int = 100_000_000
    size: int = 256 << 20
    seconds: float = 10.0
    memory: int = 1 << 30


class _Process:
    """One process, and the pictures it holds."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self.given: deque[Entry] = deque()

    @classmethod
    async def start(cls, work: Work) -> _Process:
        """Start a process and wait until it has loaded the decoders."""
        ours, theirs = socket.socketpair()
        flags = (str(int(work.rotate)), str(int(work.resize)))
        numbers = (str(work.pixels), str(work.size), str(work.memory))
        with theirs:
            process = subprocess.Popen(  # noqa: ASYNC220, S603 - a fork of a millisecond; our own interpreter and code
                [
                    sys.executable,
                    "-m",
                    "atelier.classify.worker",
                    str(os.getpid()),
                    str(theirs.fileno()),
                    *flags,
                    *numbers,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=os.environ | ENVIRONMENT,
                process_group=0,
            )
        made = cls(process, *await asyncio.open_connection(sock=ours, limit=STREAM_LIMIT))
        try:
            await made._receive(START_SECONDS)
        except (EOFError, TimeoutError):
            ending = await asyncio.to_thread(made.end, GRACE_SECONDS)
            raise WorkerFailed(f"a transforming process does not start ({ending})") from None
        return made

    def give(self, entry: Entry, root: bytes) -> None:
        """Give it one more picture."""
        self.given.append(entry)
        self._writer.write(frames.request(os.path.join(root, entry.path)))  # noqa: PTH118 - names are bytes

    async def take(self, seconds: float) -> Transformed | Failed:
        """The outcome of its oldest picture; EOFError if it died, TimeoutError if it hangs."""
        return frames.parse(*await self._receive(seconds))

    async def _receive(self, seconds: float) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(seconds):
                count, size = frames.REPLY.unpack(
                    await self._reader.readexactly(frames.REPLY.size)
                )
                return count, await self._reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise EOFError from None

    def end(self, grace: float = 0.0) -> str:
        """End the process; says how it ended if it did so itself within `grace` seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace)
        code = self._process.poll()
        self._process.kill()
        self._process.wait()
        self._writer.close()
        return (
            "killed" if code is None else f"signal {-code}" if code < 0 else f"exit status {code}"
        )


class Pool:
    """Processes that take pictures by `next_entry` and pass them to `deliver`, which may block."""

    def __init__(
        self,
        work: Work,
        next_entry: Callable[[], Awaitable[Entry | None]],
        next_now: Callable[[], Entry | None],
        deliver: Callable[[Entry, Transformed | Failed], Awaitable[None]],
    ) -> None:
        self._work = work
        self._next_entry = next_entry
        self._next_now = next_now
        self._deliver = deliver

    async def tend(self) -> None:
        """Keep one process busy until `next_entry` has no more."""
        process = await _Process.start(self._work)
        try:
            while await self._fill(process):
                entry = process.given[0]
                try:
                    outcome = await process.take(self._work.seconds)
                except (EOFError, TimeoutError) as error:
                    process, outcome = await self._replace(process, error)
                else:
                    process.given.popleft()
                await self._deliver(entry, outcome)
        finally:
            process.end()

    async def _fill(self, process: _Process) -> bool:
        """Fill the process up to its depth; false if it has no picture to answer."""
        if not process.given:
            entry = await self._next_entry()
            if entry is None:
                return False
            process.give(entry, self._work.root)
        while len(process.given) < DEPTH and (entry := self._next_now()):
            process.give(entry, self._work.root)
        return True

    async def _replace(
        self, process: _Process, error: EOFError | TimeoutError
    ) -> tuple[_Process, Failed]:
        """Start a process in place of one that failed on its oldest picture.

        Replies come in order, so the oldest is to blame; the new process gets the others again.
        """
        ending = await asyncio.to_thread(
            process.end, GRACE_SECONDS if isinstance(error, EOFError) else 0.0
        )
        culprit, *others = process.given
        if isinstance(error, TimeoutError):
            failed = Failed("too_slow", f"decoding took longer than {self._work.seconds:g} s")
        else:
            failed = Failed("crashed", f"the decoder crashed ({ending})")
        _log.warning("%s: %s", os.fsdecode(culprit.path), failed.detail)
        process = await _Process.start(self._work)
        for entry in others:
            process.give(entry, self._work.root)
        return process, failed
