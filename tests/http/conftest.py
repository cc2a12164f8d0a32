"""Settings and resources with nothing behind them but a folder.

Tests that need engines ask for those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from atelier.settings import Settings
from tests.http.support import BODY_LIMIT, make_resources

if TYPE_CHECKING:
    from pathlib import Path

    from atelier.http.resources import Resources


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a small body limit."""
    return Settings(data=tmp_path, body_limit=BODY_LIMIT, allowed_hosts=("*",))


@pytest.fixture
def resources(settings: Settings) -> Resources:
    """Resources that are not connected."""
    return make_resources(settings)
