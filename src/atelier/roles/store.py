"""Whether the blob store is this database's: what every role that writes asks before it starts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from atelier import bootstrap
from atelier.blobs import ownership
from atelier.database import Database
from atelier.errors import Unavailable
from atelier.files import statements as files
from atelier.images import records as images
from atelier.tasks import records as tasks

if TYPE_CHECKING:
    from atelier.settings import Settings

    Role = Callable[[Settings, asyncio.Event], Awaitable[None]]

# Every slice that stores blobs: which keys its rows refer to, as `key, sha256` (sha256 null: not
# known).
REFERENCED = (images.REFERENCED, tasks.REFERENCED, files.REFERENCED)

log = logging.getLogger("atelier")


async def require_own(settings: Settings) -> None:
    """Mark a store that is new as this database's. Raises WrongStore for one that is another's.

    What does not answer is no reason not to start: the role will wait for it, and the collector
    asks again by itself.
    """
    database = Database(bootstrap.database_url(settings), connections=1)
    try:
        await ownership.claim(database, bootstrap.open_blobs(settings), REFERENCED)
    except Unavailable as error:
        log.warning("whose blobs these are is not known yet: %s", error.detail)
    finally:
        await database.close()


def owning(run: Role) -> Role:
    """A role that asks first whether the store is its own."""

    async def started(settings: Settings, stop: asyncio.Event) -> None:
        await require_own(settings)
        await run(settings, stop)

    return started
