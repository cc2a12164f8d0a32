"""`atelier up`: the supervisor.

Starts the engines, migrates, keeps every role running, and stops everything in order. Knows no
slice: a role is a command, an engine is a URL.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import SecretStr

from atelier.observe import logs, systemd
from atelier.settings import EMBEDDED_VARIABLE, PREFIX, ROOT_VARIABLE, Settings, needs
from atelier.startup.folders import require_blobs
from atelier.startup.fonts import require_font, unshaped
from atelier.startup.openfiles import raise_open_files
from atelier.startup.reachability import require_servers
from atelier.up.children import Child, RoleFailed, describe
from atelier.up.engines import running
from atelier.up.health import is_healthy
from atelier.up.preflight import (
    free_ports,
    keep_secret,
    metrics_ports,
    require_two_ports,
    take_folder,
)
from atelier.up.readiness import Readiness
from atelier.up.reaper import Reaper
from atelier.up.screen import Console, Labelled, address, show_start
from atelier.up.servers import WATCH_SECONDS, Server, launches
from atelier.up.table import MIGRATE, ROLES, Role

log = logging.getLogger("atelier.up")

HEALTH_SECONDS = 0.05  # between polls of an API that is starting
PREPARE_TRIES = 3  # of the command before the roles, where an engine died or it was killed
FIRST_SECONDS = 5  # head start of the API before the other roles start
# After this time the console says that the API has not answered, or which role is not up.
IMPATIENT_SECONDS = 30


def main(settings: Settings, roles: Sequence[Role] = ROLES, prepare: Role | None = MIGRATE) -> int:
    """Run everything until SIGINT, SIGTERM or SIGHUP; return the exit code.

    Raises AtelierError when it cannot start.
    """
    raise_open_files()
    require_font(settings)
    require_two_ports(settings)
    # Not resolve(), which would follow the operator's links.
    folder = Path(os.path.abspath(settings.data))  # noqa: PTH100
    lock = take_folder(folder)
    try:
        require_blobs(settings)
        wanted = {"--port": settings.port}
        if any(role.name == "grpc" for role in roles):
            wanted["--grpc-port"] = settings.grpc_port
        ports = free_ports(settings.host, wanted)
        exporters = metrics_ports(settings, [role.name for role in roles])
        require_servers(settings)
        settings = settings.model_copy(
            update={
                "data": folder,
                "port": ports["--port"],
                "grpc_port": ports.get("--grpc-port", settings.grpc_port),
            }
        )
        console = Console(settings)
        logs.setup("up", settings, console=Labelled(console, "up"))
        guard = Reaper()
        try:
            return asyncio.run(
                Supervisor(settings, roles, prepare, console, guard, exporters).run()
            )
        finally:
            guard.close()
    finally:
        os.close(lock)


class Supervisor:
    """One run of the engines and roles."""

    def __init__(
        self,
        settings: Settings,
        roles: Sequence[Role],
        prepare: Role | None,
        console: Console,
        guard: Reaper,
        metrics_ports: Mapping[str, int],
    ) -> None:
        self._settings = settings
        self._roles = roles
        self._prepare = prepare
        self._console = console
        self._guard = guard
        self._metrics_ports = metrics_ports
        self._servers: dict[str, Server] = {}
        self._deaths: list[str] = []  # of engines, one sentence each
        self._children: list[Child] = []
        self._stop = asyncio.Event()
        self._served = asyncio.Event()
        self._readiness = Readiness(settings.data)

    async def run(self) -> int:
        """Run until a signal or a failure that no restart can repair, then stop everything."""
        self._listen_to_signals()
        self._readiness.listen(self._on_ready)
        serving = asyncio.ensure_future(self._serve())
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
            return 0
        finally:
            stopping.cancel()
            await self._shut_down(serving)
            self._readiness.close()

    async def _serve(self) -> None:
        await self._open_servers()
        ports = {"port": str(self._settings.port), "grpc_port": str(self._settings.grpc_port)}
        running.note(self._settings.data, self._urls() | ports)
        await _all(*(server.keep() for server in self._servers.values()), self._serve_roles())

    async def _open_servers(self) -> None:
        for name, launch in launches(self._settings).items():
            self._servers[name] = Server(launch, self._deaths)
        await _all(*(server.open() for server in self._servers.values()))

    async def _serve_roles(self) -> None:
        settings = self._settings_of_roles()
        if self._prepare and not self._stop.is_set():
            environment = self._environment(settings, self._prepare.name)
            await self._run_before(self._prepare, environment)
        children = [
            child
            for role in self._roles
            for child in self._copies(role, self._environment(settings, role.name))
        ]
        self._children += children
        await _all(*(self._keep(child) for child in children), self._announce(children))

    async def _keep(self, child: Child) -> None:
        """Keep a child running.

        Roles without a public address give the public ones a head start: users wait for those.
        """
        if not child.role.public:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._served.wait(), FIRST_SECONDS)
        await child.keep()

    def _copies(self, role: Role, environment: dict[str, str]) -> list[Child]:
        count = role.copies(self._settings)
        if role.name in self._metrics_ports:
            environment = environment | {
                f"{PREFIX}METRICS_PORT": str(self._metrics_ports[role.name])
            }
        names = (
            [role.name]
            if count == 1
            else [f"{role.name}-{number}" for number in range(1, count + 1)]
        )
        return [Child(name, role, environment, self._console, self._guard) for name in names]

    async def _run_before(self, role: Role, environment: dict[str, str]) -> None:
        """Run a role to its end; again when it was killed or lost an engine.

        Raises RoleFailed.
        """
        child = Child(role.name, role, environment, self._console, self._guard)
        self._children.append(child)
        for attempt in itertools.count(1):
            deaths = len(self._deaths)
            code = await child.run_once()
            if code == 0:
                log.info("%s is done", role.name)
            if code == 0 or self._stop.is_set():
                return
            await asyncio.sleep(2 * WATCH_SECONDS)  # an engine that died is missed by then
            died = self._deaths[deaths:]
            if attempt == PREPARE_TRIES or not (died or code < 0):
                reason = "; ".join(died) or child.last_line.removeprefix("atelier: ")
                raise RoleFailed(f"{role.name} failed ({describe(code)}): {reason}")
            log.warning("%s ended (%s); it is run again", role.name, describe(code))
            await _all(*(server.answers() for server in self._servers.values()))

    def _settings_of_roles(self) -> Settings:
        """The settings with the URLs of our engines and the secret that we keep."""
        found = {name: SecretStr(url) for name, url in self._urls().items()}
        if self._settings.secret is None:
            found["secret"] = SecretStr(keep_secret(self._settings.data))
        return self._settings.model_copy(update=found)

    def _environment(self, settings: Settings, role: str) -> dict[str, str]:
        """The environment of a role: what it needs of the settings, with our choices."""
        theirs = {
            "PYTHONUNBUFFERED": "1",
            EMBEDDED_VARIABLE: ",".join(self._servers),
        } | self._readiness.environment
        return needs.environment(settings, role, os.environ, theirs)

    def _urls(self) -> dict[str, str]:
        urls = {}
        for name, server in self._servers.items():
            urls[name] = server.engine.client_url or server.engine.url
            if name == "database_url":
                urls["migration_url"] = server.engine.url
        return urls

    async def _announce(self, children: Sequence[Child]) -> None:
        """Show the start screen once every address on it answers.

        Then report the roles that are late.
        """
        names = {role.name for role in self._roles}
        began = asyncio.get_running_loop().time()
        patient = True
        while "api" in names and not await is_healthy(self._settings.host, self._settings.port):
            if patient and asyncio.get_running_loop().time() - began > IMPATIENT_SECONDS:
                patient = False
                log.warning(
                    "the API has not answered for %d s; see the lines above", IMPATIENT_SECONDS
                )
            await asyncio.sleep(HEALTH_SECONDS)
        late = await _late([child for child in children if child.role.public])
        self._served.set()
        if self._stop.is_set():
            return
        log.info("Atelier is up at %s", address(self._settings))
        notes = [os.environ[ROOT_VARIABLE]] if ROOT_VARIABLE in os.environ else []
        notes += [note for server in self._servers.values() for note in server.engine.notes]
        if "processor" in names and (flaw := unshaped()):
            notes.append(f"{flaw[0].upper()}{flaw[1:]}.")
        if late:
            notes.append(f"Not up yet: {', '.join(late)}. The lines above say more.")
        show_start(self._console, self._settings, names, notes, self._metrics_ports)
        if late := await _late(children):
            log.warning("not up yet: %s; see the lines above", ", ".join(late))
        systemd.ready()  # to systemd, or a supervisor above this one

    def _on_ready(self, pid: int) -> None:
        for child in self._children:
            if child.pid == pid:
                child.ready.set()

    async def _shut_down(self, serving: asyncio.Future[None]) -> None:
        """Stop the roles, all at once, each with its time to drain; then the engines."""
        await asyncio.gather(*(child.stop() for child in self._children))
        serving.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await serving  # ends an engine or role that was just starting
        await asyncio.gather(*(server.stop() for server in self._servers.values()))
        running.forget(self._settings.data)
        log.info("Atelier is down")

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Under nohup SIGHUP is ignored already and stays so.
            if signal.getsignal(number) is not signal.SIG_IGN or number != signal.SIGHUP:
                loop.add_signal_handler(number, self._on_signal)

    def _on_signal(self) -> None:
        if not self._stop.is_set():
            log.info("stopping; once more to stop at once")
            self._stop.set()
            return
        for child in self._children:
            child.kill()
        for server in self._servers.values():
            server.kill()


async def _late(children: Sequence[Child]) -> list[str]:
    """Wait for the roles, up to a limit; return the names of those that are not ready."""
    waits = {asyncio.ensure_future(child.ready.wait()): child.name for child in children}
    if not waits:
        return []
    try:
        _, pending = await asyncio.wait(waits, timeout=IMPATIENT_SECONDS)
        return [name for wait, name in waits.items() if wait in pending]
    finally:
        for wait in waits:
            wait.cancel()


async def _all(*coroutines: Coroutine[None, None, None]) -> None:
    """Run all of them; the first failure ends the others and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for coroutine in coroutines:
                tasks.create_task(coroutine)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
