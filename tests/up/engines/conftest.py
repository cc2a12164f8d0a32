"""Folders that an unprivileged PostgreSQL can reach, and the end of each engine of a test."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atelier.up.engines import Engine, start_postgres, start_valkey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that any user can reach: pytest's own is closed to others."""
    made = Path(tempfile.mkdtemp(prefix="atelier-engines-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def start() -> Iterator[Callable[..., Engine]]:
    """`start(start_postgres | start_valkey, ...)`; halted after the test."""
    running: list[Engine] = []

    def make(how: Callable[..., Engine], *args: object, **options: object) -> Engine:
        running.append(how(*args, **options))
        return running[-1]

    yield make
    for engine in running:
        engine.halt()


@pytest.fixture
def postgres(start: Callable[..., Engine], folder: Path) -> Callable[..., Engine]:
    """Start PostgreSQL on `postgres` of the test's folder."""
    return lambda where=folder / "postgres", **options: start(start_postgres, where, **options)


@pytest.fixture
def valkey(start: Callable[..., Engine], folder: Path) -> Callable[..., Engine]:
    """Start Valkey on `valkey` of the test's folder."""
    return lambda where=folder / "valkey", **options: start(start_valkey, where, **options)
