"""`atelier blobs verify` and `adopt`: say, or settle, that a store is this database's."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from atelier import bootstrap
from atelier.blobs import Blobs, ownership
from atelier.commands.database import reachable_database
from atelier.database import Database
from atelier.roles.store import REFERENCED

if TYPE_CHECKING:
    from atelier.settings import Settings


def verify(settings: Settings) -> int:
    """Mark a store that is new as this database's. Raises WrongStore and Unavailable."""
    _with_store(settings, partial(ownership.claim, references=REFERENCED))
    sys.stdout.write(f"the blobs in {settings.store} are this database's\n")
    return 0


def adopt(settings: Settings) -> int:
    """Mark the store as this database's, whatever it holds. Raises Unavailable."""
    _with_store(settings, ownership.adopt)
    sys.stdout.write(f"the blobs in {settings.store} are this database's from now on\n")
    return 0


def _with_store(settings: Settings, work: Callable[[Database, Blobs], Awaitable[None]]) -> None:
    async def opened(url: str) -> None:
        database = Database(url, connections=1)
        try:
            await work(database, bootstrap.open_blobs(settings))
        finally:
            await database.close()

    with reachable_database(settings) as url:
        asyncio.run(opened(url))
