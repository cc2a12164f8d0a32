"""Keys the digests of refresh tokens from before they were keyed by the secret, once.

It keeps people signed in over the upgrade. It is done once for a database: done again, it would
bring sessions of an earlier secret back to life. Knows no HTTP.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

import asyncpg
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.accounts.models import RefreshFamily
from atelier.blobs.ownership import Instance
from atelier.database import ERRORS, Database
from atelier.errors import Unavailable
from atelier.retry import Outage

BATCH = 5_000  # sessions read at once
AGAIN_SECONDS = 2
_ONCE = """
    UPDATE instance SET sessions_keyed_at = now() WHERE sessions_keyed_at IS NULL RETURNING id
"""
# Those of this release have an end: their digests are keyed already.
_PLAIN = """
    DECLARE plain CURSOR FOR
    SELECT id, token_sha256 FROM refresh_families WHERE ends_at IS NULL AND revoked_at IS NULL
"""
_KEY = """
    UPDATE refresh_families SET token_sha256 = $3, ends_at = created_at + $4::interval
    WHERE id = $1 AND token_sha256 = $2
"""

log = logging.getLogger(__name__)


async def seal(database: Database, key: Callable[[bytes], bytes], whole: timedelta) -> int:
    """Key the digest of every session unless that was done before; how many were.

    `whole` is how long they live from their beginning.
    """
    async with (await database.pool()).acquire() as connection, connection.transaction():
        if await connection.fetchval(_ONCE) is None:
            return 0
        return await _seal_all(connection, key, whole)


async def _seal_all(
    connection: asyncpg.Connection, key: Callable[[bytes], bytes], whole: timedelta
) -> int:
    await connection.execute(_PLAIN)
    count = 0
    while rows := await connection.fetch(f"FETCH {BATCH} FROM plain"):
        plain = [(row["id"], row["token_sha256"]) for row in rows]
        await connection.executemany(_KEY, [(*each, key(each[1]), whole) for each in plain])
        count += len(rows)
    return count


async def seal_when_possible(
    database: Database, key: Callable[[bytes], bytes], whole: timedelta
) -> None:
    """Seal as soon as the database can be asked."""
    outage = Outage(log, "the table of sessions")
    while True:
        try:
            if count := await seal(database, key, whole):
                log.info("%d sessions are kept over the upgrade", count)
        except (Unavailable, *ERRORS) as error:
            await outage.failed(error)
        else:
            return


async def require_sealed(session: AsyncSession, family: RefreshFamily) -> None:
    """Raise Unavailable for a session from before that may still be sealed: it is not judged."""
    if family.ends_at is None and await session.scalar(select(Instance.sessions_keyed_at)) is None:
        raise Unavailable("Sessions are being upgraded.", retry_after=AGAIN_SECONDS)
