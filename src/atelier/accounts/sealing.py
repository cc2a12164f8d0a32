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

from atelier.blobs.ownership import Instance
from atelier.database import ERRORS, Database
from atelier.errors import Unavailable
from atelier.retry import Outage

BATCH = 5_000  # sessions a statement: each takes well under a second
AGAIN_SECONDS = 2
_ONCE = """
    UPDATE instance SET sessions_keyed_at = now() WHERE sessions_keyed_at IS NULL RETURNING id
"""
_PLAIN = "DECLARE plain CURSOR FOR SELECT id, token_sha256 FROM refresh_families FOR UPDATE"
_KEY = """
    UPDATE refresh_families AS family
    SET token_sha256 = each.digest, ends_at = family.created_at + $3::interval
    FROM unnest($1::uuid[], $2::bytea[]) AS each (id, digest) WHERE family.id = each.id
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
        digests = [key(row["token_sha256"]) for row in rows]
        await connection.execute(_KEY, [row["id"] for row in rows], digests, whole)
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


async def require_sealed(session: AsyncSession) -> None:
    """Raise Unavailable while sessions from before are not sealed: none of them is judged yet."""
    if await session.scalar(select(Instance.sessions_keyed_at)) is None:
        raise Unavailable("Sessions are being upgraded.", retry_after=AGAIN_SECONDS)
