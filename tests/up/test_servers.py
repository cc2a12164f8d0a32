"""The embedded engines of a supervisor, before any role needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from atelier.up.engines import Engine, launch_valkey
from atelier.up.engines.errors import EngineFailed
from atelier.up.servers import START_TRIES, Server

if TYPE_CHECKING:
    from pathlib import Path


class Launcher:
    """Launches Valkey, and kills the first of its processes before they are ready."""

    def __init__(self, folder: Path, killed: int) -> None:
        self.folder, self.killed = folder, killed
        self.count = 0

    def __call__(self, **options: Any) -> Engine:
        """Launch one more."""
        engine = launch_valkey(self.folder / "valkey", **options)
        self.count += 1
        if self.count <= self.killed:
            engine.process.kill()
            engine.process.wait()
        return engine


async def test_an_engine_that_dies_as_it_starts_is_started_again(tmp_path: Path) -> None:
    """One that ends before it is ready costs a try, not the start."""
    launch = Launcher(tmp_path, killed=START_TRIES - 1)
    server = Server(launch, [])
    await server.open()
    assert launch.count == START_TRIES
    assert server.engine.is_ready()
    await server.stop()


async def test_an_engine_that_never_starts_is_given_up(tmp_path: Path) -> None:
    """After some tries the start ends with the engine's own reason."""
    launch = Launcher(tmp_path, killed=START_TRIES)
    with pytest.raises(EngineFailed, match=r"^Valkey did not start: "):
        await Server(launch, []).open()
    assert launch.count == START_TRIES
