"""The stores that the contract tests run against: one parameter for each implementation of the port."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from atelier.adapters.blobs.directory import DirectoryBlobs

if TYPE_CHECKING:
    from pathlib import Path

    from atelier.adapters.blobs import Blobs


@pytest.fixture(params=["directory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    """An empty store."""
    return DirectoryBlobs(tmp_path / "blobs")
