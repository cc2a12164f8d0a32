"""Commands that ask the database of an instance that is stopped."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from atelier.commands import ownership
from atelier.commands.migrate import migrate, share
from atelier.errors import Unavailable
from atelier.settings import Settings
from atelier.up.engines import start_postgres
from atelier.up.engines.process import lock_folder
from tests.waiting import finished


@pytest.fixture
def stopped() -> Iterator[Settings]:
    """Settings of an instance that has run and is stopped, in a folder that any user can reach."""
    with tempfile.TemporaryDirectory(prefix="atelier-stopped-") as folder:
        Path(folder).chmod(0o755)
        engine = start_postgres(Path(folder) / "postgres", durable=False)
        try:
            migrate(engine.url)
            share(engine.url, engine.client_url)
        finally:
            engine.stop()
        yield Settings(data=Path(folder))


def test_a_store_is_verified_and_adopted_while_all_is_stopped(stopped: Settings) -> None:
    """The embedded database runs for as long as the command asks it."""
    for command in ("verify", "adopt"):
        words = [sys.executable, "-m", "atelier", "blobs", command, "--data", str(stopped.data)]
        done = finished(words, cwd=stopped.data)
        assert done.returncode == 0, done.stderr
        assert "are this database's" in done.stdout
        os.close(lock_folder(stopped.data / "postgres", patience_seconds=0))


def test_a_folder_without_a_database_gets_none(tmp_path: Path) -> None:
    """A folder that is named by mistake is left as it was."""
    with pytest.raises(Unavailable, match="Atelier is not running on"):
        ownership.verify(Settings(data=tmp_path))
    assert list(tmp_path.iterdir()) == []
