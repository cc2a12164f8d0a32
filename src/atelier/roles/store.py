"""Ownership of the blob store, checked at the start of every role that writes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from atelier import bootstrap
from atelier.blobs import ownership
from atelier.database import ERRORS, Database
from atelier.errors import Unavailable
from atelier.files import statements as files
from atelier.images import records as images
from atelier.settings import Settings
from atelier.tasks import records as tasks
from atelier.wire import trash

Role = Callable[[Settings, asyncio.Event], Awaitable[None]]

# For every slice that stores blobs: the keys that its rows refer to, as `key, sha256` (sha256
# null: unknown).
REFERENCED = (images.REFERENCED, tasks.REFERENCED, files.REFERENCED, trash.REFERENCED)

log = logging.getLogger("atelier")


async def require_own(settings: Settings) -> None:
    """Mark a new store as this database's. Raises WrongStore for another database's.

    When database or store do not answer, the role starts and waits for them; the collector checks
    again by itself.
    """
    database = Database(bootstrap.database_url(settings), connections=1)
    try:
        await ownership.claim(database, bootstrap.open_blobs(settings), REFERENCED)
    except (Unavailable, *ERRORS) as error:  # the connection may break off under the question
        log.warning("whose blobs these are is not known yet: %s", error)
    finally:
        await database.close()


def owning(run: Role) -> Role:
    """Wrap a role so that it first checks that the store is its own."""

    async def started(settings: Settings, stop: asyncio.Event) -> None:
        await require_own(settings)
        await run(settings, stop)

    return started
