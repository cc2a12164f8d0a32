"""The embedded engines of `atelier up`.

Started where no URL is set, started again when they die, stopped last.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from atelier.settings import Settings
from atelier.up.children import Pauses, describe
from atelier.up.engines import Engine, EngineError, launch_postgres, launch_valkey
from atelier.up.engines.errors import FolderBusy
from atelier.up.engines.process import PATIENCE_SECONDS, trim_log

log = logging.getLogger("atelier.up")

WATCH_SECONDS = 0.1  # between looks at an engine that runs
TRIM_SECONDS = 60  # between looks at the size of its log

Launch = Callable[..., Engine]


class Server:
    """An engine and its successors on the same folder and socket."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._stopping = False
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The engine that was started last."""
        if self._engine is None:
            raise EngineError("not started yet")
        return self._engine

    async def start(self) -> None:
        """Start it, once an earlier instance's engine has left the folder. Raises EngineError."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            try:
                self._engine = self._launch(patience_seconds=0)
            except FolderBusy:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(WATCH_SECONDS)
            else:
                return

    async def ready(self) -> None:
        """Wait until it takes connections. Raises EngineError when it ends instead."""
        for pause in self.engine.starting():
            await asyncio.sleep(pause)

    async def keep(self) -> None:
        """Start it again whenever it dies."""
        loop, pauses = asyncio.get_running_loop(), Pauses()
        while True:
            started = loop.time()
            await self._watch()
            if self._stopping:
                return
            code = describe(self.engine.process.returncode)
            log.warning("%s ended (%s); it is started again", self.engine.name, code)
            await self._restart(pauses, loop.time() - started)

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
        """End it in order; by force when it takes too long."""
        self._stopping = True
        if self._engine is not None:
            for pause in self._engine.stopping():
                await asyncio.sleep(pause)

    def kill(self) -> None:
        """End it at once; the next start recovers."""
        self._stopping = True
        if self._engine is not None and self._engine.is_alive():
            self._engine.process.send_signal(self._engine.halt_signal)


def launches(settings: Settings) -> dict[str, Launch]:
    """What has to be started: the setting that its URL goes to, and how."""
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
            log=settings.logs_folder / "valkey.log",
        )
    return needed
