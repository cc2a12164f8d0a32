"""Fixtures of the whole-system tests."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.instance import Instance

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def running(backup: Path | None = None, **settings: str) -> Iterator[Instance]:
    """An instance in a folder that PostgreSQL's user may enter when root runs the tests.

    Removed at the end.

    Its name is one that people give: with a space, a percent sign, another alphabet.

    `backup` is restored before it starts.
    """
    with tempfile.TemporaryDirectory(
        prefix="atelier-system-", suffix=" 5%20 дом", ignore_cleanup_errors=True
    ) as folder:
        Path(folder).chmod(0o755)
        instance = Instance(Path(folder), **settings)
        if backup:
            restored = instance.command("restore", str(backup))
            assert restored.returncode == 0, restored.stdout + restored.stderr
        instance.start()
        try:
            yield instance
        finally:
            instance.close()


@pytest.fixture
def instance() -> Iterator[Instance]:
    """An instance of the test's own."""
    with running() as instance:
        yield instance


@pytest.fixture(scope="module")
def shared() -> Iterator[Instance]:
    """An instance that a module's tests share."""
    with running() as instance:
        yield instance
