"""Whether a store of blobs can be used right now."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from atelier.adapters.blobs import Blobs


async def reach(blobs: Blobs) -> None:
    """Raises when nothing can be written where local blobs lie, or when a store elsewhere does not answer."""
    if path := blobs.path("readyz"):
        await asyncio.to_thread(_writable, path)
        return
    async for _ in blobs.list("readyz/"):
        break


def _writable(path: Path) -> None:
    nearest = next(folder for folder in path.parents if folder.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError("the folder of blobs cannot be written")
