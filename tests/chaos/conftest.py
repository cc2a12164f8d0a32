"""A folder for an instance."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def chaos_folder() -> Iterator[Path]:
    """One that PostgreSQL's user may enter when root runs the tests; removed at the end."""
    with tempfile.TemporaryDirectory(
        prefix="atelier-chaos-", ignore_cleanup_errors=True
    ) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
