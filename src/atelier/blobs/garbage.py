"""Blobs to be removed: each blob is at any moment either referenced by a row or listed here.

So a process that dies between writing a blob and committing its row leaks nothing. Knows no table
that refers to blobs.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import ARRAY, Index, Text, TextClause, bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from atelier.blobs import Blobs
from atelier.blobs.statements import CLAIM, DISCARD, INTEND, MAY_REMOVE
from atelier.database import ERRORS, Base, Database, UtcDateTime
from atelier.errors import Unavailable

log = logging.getLogger(__name__)

COLLECT_BATCH = 500  # blobs per transaction
# A writer that was suspended past its intent may still write the blob; look again after a day.
STRAGGLERS_SECONDS = 86_400


class BlobGarbage(Base):
    """A blob that nothing refers to (yet).

    It is an `intent` until its row claims it, and is removed once `after` has passed.
    """

    __tablename__ = "blob_garbage"

    key: Mapped[str] = mapped_column(Text, primary_key=True)
    after: Mapped[datetime] = mapped_column(UtcDateTime)
    intent: Mapped[bool]

    __table_args__ = (Index("ix_blob_garbage_after", "after"),)


TABLE = BlobGarbage.__tablename__

_INTEND = INTEND.format(keys="$1", life="$2")
_CLAIM = CLAIM.format(keys=":keys")
# PostgreSQL's own spelling of a cast would be read as a parameter here.
_DISCARD = DISCARD.format(keys=":keys").replace("::text[]", "")
DUE = """
    SELECT key, intent FROM blob_garbage WHERE after <= clock_timestamp()
    ORDER BY after LIMIT :limit
    FOR UPDATE SKIP LOCKED
"""
_POSTPONE = f"""
    UPDATE blob_garbage SET intent = false,
        after = clock_timestamp() + interval '{STRAGGLERS_SECONDS} seconds'
    WHERE key = any(:keys)
"""
_FORGET = "DELETE FROM blob_garbage WHERE key = any(:keys)"


def _with_keys(statement: str) -> TextClause:
    return text(statement).bindparams(bindparam("keys", type_=ARRAY(Text)))


async def intend(database: Database, keys: Collection[str], life: timedelta) -> None:
    """List blobs, before they are written, as garbage unless claimed within `life`.

    Durable on return.
    """
    if keys:
        await database.fetch(_INTEND, list(keys), life)


async def claim(session: AsyncSession, keys: Collection[str]) -> None:
    """Take blobs off the list in the transaction that inserts the row that refers to them.

    Raises Unavailable when one is not listed or is due already: it may be gone, so the row must
    not be inserted.
    """
    if keys:
        claimed = await session.scalars(_with_keys(_CLAIM), {"keys": list(keys)})
        if len(claimed.all()) < len(set(keys)):
            raise Unavailable("The upload took too long; send it again.", retry_after=1)


async def discard(session: AsyncSession, keys: Collection[str]) -> None:
    """List blobs in the transaction that removes the last reference to them."""
    if keys:
        await session.execute(_with_keys(_DISCARD), {"keys": list(keys)})


async def remove(database: Database, blobs: Blobs, keys: Collection[str]) -> None:
    """Remove at once the blobs that a committed transaction has discarded.

    While a backup runs, or database or store do not answer, they are left to the collector: the
    request itself has succeeded.
    """
    try:
        if (await database.fetch(MAY_REMOVE))[0][0]:
            await blobs.delete(keys)
    except (Unavailable, *ERRORS) as error:
        log.warning("blobs of what was deleted are left to the collector: %r", error)


async def collect(database: Database, blobs: Blobs, batch: int = COLLECT_BATCH) -> int:
    """Remove every blob that is due; return how many.

    Any number of collectors may run at once, none beside a backup. Blobs are deleted before their
    rows, so a collector that dies in between only has to try again.
    """
    collected = 0
    while found := await _collect_batch(database, blobs, batch):
        collected += found
        if found < batch:
            break
    return collected


async def _collect_batch(database: Database, blobs: Blobs, limit: int) -> int:
    async with database.session() as session:
        due = (await session.execute(text(DUE), {"limit": limit})).all()
        if due and not await session.scalar(text(MAY_REMOVE)):
            return 0
        if due:
            await blobs.delete([row.key for row in due])
            await session.execute(
                _with_keys(_POSTPONE), {"keys": [row.key for row in due if row.intent]}
            )
            await session.execute(
                _with_keys(_FORGET), {"keys": [row.key for row in due if not row.intent]}
            )
        await session.commit()
    return len(due)
