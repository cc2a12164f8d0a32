"""The embedded engines of `atelier up`: started where no URL is set, restarted, stopped last."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from functools import partial

from atelier.settings import Settings
from atelier.up.children import Pauses, describe
from atelier.up.engines import Engine, EngineError, launch_postgres, launch_valkey
from atelier.up.engines.errors import EngineFailed, FolderBusy, last_error
from atelier.up.engines.memory import valkey_memory
from atelier.up.engines.orphans import Eviction
from atelier.up.engines.process import PATIENCE_SECONDS, POLL_SECONDS, trim_log

log = logging.getLogger("atelier.up")

WATCH_SECONDS = 0.1  # between polls of a running engine
START_TRIES = 3  # of an engine, before any role needs it
TRIM_SECONDS = 60  # between checks of the size of its log

Launch = Callable[..., Engine]


class Server:
    """An engine and its restarts on the same folder and socket."""

    def __init__(self, launch: Launch, deaths: list[str]) -> None:
        self._launch = launch
        self._deaths = deaths  # gets a sentence, with the engine's own last error, for each
        self._stopping = False
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The engine that was started last."""
        if self._engine is None:
            raise EngineError("not started yet")
        return self._engine

    async def open(self) -> None:
        """Start it and wait until it takes connections, again when it ends meanwhile.

        Raises EngineError with its own last words after some tries, and at once when no other try
        would end otherwise.
        """
        pauses = Pauses()
        for attempt in itertools.count(1):
            try:
                await self.start()
                await self.ready()
            except EngineFailed as error:
                if attempt == START_TRIES or self._stopping:
                    raise
                log.warning("%s It is tried again.", error.detail)
                await asyncio.sleep(pauses.after(0))
            else:
                return

    async def start(self) -> None:
        """Start it, once an earlier instance's engine has left the folder. Raises EngineError."""
        loop, eviction = asyncio.get_running_loop(), None
        began = loop.time()
        while True:
            try:
                self._engine = self._launch(patience_seconds=0)
            except FolderBusy as error:
                waited = loop.time() - began
                if waited > PATIENCE_SECONDS:
                    raise
                eviction = eviction or Eviction(error.lock)
                eviction.press(waited)
                await asyncio.sleep(WATCH_SECONDS)
            else:
                return

    async def ready(self) -> None:
        """Wait until it takes connections. Raises EngineError when it ends instead."""
        for pause in self.engine.starting():
            await asyncio.sleep(pause)

    async def answers(self) -> None:
        """Wait until it takes connections while `keep` runs, however often it dies meanwhile."""
        while not (self.engine.is_alive() and self.engine.is_ready()):  # noqa: ASYNC110 - nor does it tell
            await asyncio.sleep(POLL_SECONDS)

    async def keep(self) -> None:
        """Restart it whenever it dies."""
        loop, pauses = asyncio.get_running_loop(), Pauses()
        while True:
            started = loop.time()
            await self._watch()
            if self._stopping:
                return
            self._deaths.append(self._obituary())
            log.warning("%s; it is started again", self._deaths[-1])
            await self._restart(pauses, loop.time() - started)

    def _obituary(self) -> str:
        code = describe(self.engine.process.returncode)
        reason = last_error(self.engine.last_words())
        return f"{self.engine.name} ended ({code})" + (f": {reason}" if reason else "")

    async def _watch(self) -> None:
        looked = asyncio.get_running_loop().time()
        while self.engine.is_alive():
            await asyncio.sleep(WATCH_SECONDS)
            if asyncio.get_running_loop().time() - looked > TRIM_SECONDS:
                looked = asyncio.get_running_loop().time()
                trim_log(self.engine.log)

    async def _restart(self, pauses: Pauses, lifetime: float) -> None:
        while not self._stopping:
            await asyncio.sleep(pauses.after(lifetime))
            lifetime = 0
            try:
                await self.start()
                await self.ready()
            except EngineError as error:
                log.error("%s", error.detail)  # noqa: TRY400 - the detail says it all
            else:
                log.info("%s is back", self.engine.name)
                return

    async def stop(self) -> None:
        """Stop it in order; kill it after a timeout."""
        self._stopping = True
        if self._engine is not None:
            for pause in self._engine.stopping():
                await asyncio.sleep(pause)

    def kill(self) -> None:
        """Stop it at once; the next start recovers."""
        self._stopping = True
        if self._engine is not None and self._engine.is_alive():
            self._engine.process.send_signal(self._engine.halt_signal)


def launches(settings: Settings) -> dict[str, Launch]:
    """The engines to start: for each setting without a URL, how to launch its engine."""
    needed: dict[str, Launch] = {}
    if settings.database_url is None:
        needed["database_url"] = partial(
            launch_postgres,
            settings.data / "postgres",
            binaries=settings.postgres_bin,
            user=settings.postgres_user,
            log=settings.logs_folder / "postgres.log",
        )
    if settings.redis_url is None:
        needed["redis_url"] = partial(
            launch_valkey,
            settings.data / "valkey",
            binary=settings.valkey_bin,
            memory=settings.valkey_memory or valkey_memory(),
            log=settings.logs_folder / "valkey.log",
        )
    return needed
