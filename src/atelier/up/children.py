"""A role as a child process: read line by line, restarted when it dies, drained at the stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress

from atelier.errors import AtelierError
from atelier.retry import Backoff
from atelier.up.engines.process import follow_parent
from atelier.up.reaper import Reaper
from atelier.up.screen import Console
from atelier.up.table import Role

log = logging.getLogger("atelier.up")

PAUSES_SECONDS = (0.2, 30)  # the first and the longest before what died is started again
HEALTHY_SECONDS = 30  # a role that lived this long had no trouble in starting
LINE_BYTES = 64 * 1024  # a longer line is broken
READ_BYTES = 64 * 1024
EOF_SECONDS = 1  # for the last lines of a dead role
WATCH_SECONDS = 0.05  # between polls of a running role
USAGE_ERROR = 2  # the exit code of a role that cannot work with its settings


class RoleFailed(AtelierError):
    """A role cannot work with these settings."""

    slug = "role-failed"


class Pauses:
    """Exponential back-off with a cap, reset by a healthy life."""

    def __init__(self) -> None:
        self._backoff = Backoff(*PAUSES_SECONDS)

    def after(self, lifetime: float) -> float:
        """Return the seconds to the next start of a process that lived for `lifetime` seconds."""
        if lifetime >= HEALTHY_SECONDS:
            self._backoff.reset()
        return self._backoff.next()


class Child:
    """A role's process and its restarts."""

    def __init__(
        self,
        name: str,
        role: Role,
        environment: Mapping[str, str],
        console: Console,
        guard: Reaper,
    ) -> None:
        self.name = name
        self.role = role
        self.last_line = ""
        self.ready = asyncio.Event()  # set once it has reported ready, and never cleared
        self._environment = environment
        self._console = console
        self._guard = guard
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """The pid of the process that was started last."""
        return self._process.pid if self._process else None

    async def run_once(self) -> int:
        """Run it to its end; return the exit code (negative: the signal that ended it).

        `asyncio.subprocess` will not do: its `wait` also waits for every process that inherited
        the output.
        """
        process = self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - fast; our own
            [sys.executable, *self.role.arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
            # Ctrl-C in the terminal is for the supervisor: it stops the roles before the engines.
            start_new_session=True,
            preexec_fn=follow_parent(signal.SIGKILL),  # noqa: PLW1509 - it takes no locks
        )
        self._guard.add(process.pid)
        reader = asyncio.ensure_future(self._read(process))
        try:
            while process.poll() is None:  # noqa: ASYNC110 - the kernel sets no asyncio.Event
                await asyncio.sleep(WATCH_SECONDS)
        finally:
            self._end_group(process)
            # A cancelled task comes here while the process runs: the kill above ends it.
            process.wait()
            self._guard.remove(process.pid)
            # No end of file comes while a grandchild holds the pipe open.
            await asyncio.wait({reader}, timeout=EOF_SECONDS)
            reader.cancel()
        return process.returncode

    async def keep(self) -> None:
        """Restart it until `stop`.

        Raises RoleFailed when its settings are at fault.
        """
        loop, pauses, worked = asyncio.get_running_loop(), Pauses(), False
        while not self._stopping:
            started = loop.time()
            code = await self.run_once()
            lifetime = loop.time() - started
            if self._stopping:
                return
            # Settings are at fault only when no start has worked: a role that once ran is
            # restarted.
            worked = worked or lifetime >= HEALTHY_SECONDS
            if code == USAGE_ERROR and not worked:
                raise RoleFailed(
                    f"{self.name} cannot start: {self.last_line.removeprefix('atelier: ')}"
                )
            pause = pauses.after(lifetime)
            log.warning(
                "%s ended (%s); it starts again in %.1f s", self.name, describe(code), pause
            )
            await asyncio.sleep(pause)

    async def stop(self) -> None:
        """Ask it to finish its current work; kill it after its drain time."""
        self._stopping = True
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        deadline = asyncio.get_running_loop().time() + self.role.drain_seconds
        while process.poll() is None:
            if asyncio.get_running_loop().time() > deadline:
                log.warning(
                    "%s did not stop in %.0f s and is killed", self.name, self.role.drain_seconds
                )
                self.kill()
                # Killed already: only its end is awaited now.
                deadline = float("inf")
            await asyncio.sleep(WATCH_SECONDS)

    def kill(self) -> None:
        """Kill it and its own children at once."""
        self._stopping = True
        if self._process is not None:
            self._end_group(self._process)

    @staticmethod
    def _end_group(process: subprocess.Popen[bytes]) -> None:
        """Kill the rest of its session, such as the sandboxes of a processor that was killed."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)

    async def _read(self, process: subprocess.Popen[bytes]) -> None:
        stream = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(stream)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: protocol, process.stdout
        )
        rest = b""
        try:
            while data := await stream.read(READ_BYTES):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._print(line)
                # Without this a role that prints no line end would fill our memory.
                if len(rest) > LINE_BYTES:
                    self._print(rest)
                    rest = b""
        finally:
            transport.close()
        if rest:
            self._print(rest)

    def _print(self, line: bytes) -> None:
        line = line.rstrip(b"\r")
        if line.strip():
            self.last_line = line.decode("utf-8", "replace").strip()
        self._console.line(self.name, line)


def describe(code: int) -> str:
    """Describe an exit code."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
