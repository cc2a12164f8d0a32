"""Ownership of a store: it carries a mark that the database remembers.

So one database never removes another's blobs. A store without a mark is new, or older than marks,
or a folder whose volume is not mounted. Knows no table that refers to blobs.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import asyncpg
from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from atelier.blobs import Blobs, mark
from atelier.database import Base, Database, UtcDateTime
from atelier.errors import AtelierError, Conflict, NotFound

SAMPLE = 5  # blobs of each table, one of which must be in a store without a mark


class WrongStore(AtelierError):
    """These are not the blobs of this database."""

    slug = "wrong-store"


class Instance(Base):
    """The name that this database has given itself: one row, made by the migration.

    `sessions_keyed_at` says since when digests of refresh tokens are keyed by the secret.
    """

    __tablename__ = "instance"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    sessions_keyed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


async def belongs(database: Database, blobs: Blobs, references: Iterable[str]) -> bool:
    """Return whether the store is marked as this database's; False: unmarked, but plausible.

    `references` are statements that select the `key` of each blob that a row refers to. Raises
    WrongStore, and Conflict for a database that was not migrated.
    """
    ours, theirs = await _instance(database), mark.read(await blobs.mark())
    if theirs == mark.COPYING:
        raise WrongStore(
            "the blob store is an unfinished copy of another: stop Atelier and run "
            "`atelier blobs copy --final` again"
        )
    if theirs is None and not await _plausible(database, blobs, references):
        raise WrongStore(
            "the blob store holds nothing that the database refers to. Is ATELIER_BLOBS right, "
            "is the volume mounted? "
            "(When the blobs are lost for good, `atelier blobs adopt` makes a new store of it.)"
        )
    if theirs not in {None, ours}:
        raise WrongStore(
            f"the blob store belongs to another database ({theirs}, this one is {ours}). Set "
            "ATELIER_BLOBS or "
            "ATELIER_DATABASE_URL right. (When they were put together on purpose: `atelier blobs "
            "adopt`.)"
        )
    return theirs is not None


async def claim(database: Database, blobs: Blobs, references: Iterable[str]) -> None:
    """Mark the store as this database's unless it is marked already. Raises WrongStore."""
    if not await belongs(database, blobs, references):
        await adopt(database, blobs)


async def adopt(database: Database, blobs: Blobs) -> None:
    """Mark the store as this database's, whatever it holds."""
    await blobs.set_mark(mark.written(await _instance(database)))


async def _instance(database: Database) -> str:
    try:
        found = await database.fetchrow("SELECT id FROM instance")
    except asyncpg.UndefinedTableError:
        raise Conflict(
            "the database does not have the tables of this version: run `atelier migrate`"
        ) from None
    if found is None:
        raise WrongStore("the database has lost its own name: its table `instance` is empty")
    return str(found["id"])


async def _plausible(database: Database, blobs: Blobs, references: Iterable[str]) -> bool:
    """Return whether an unmarked store may be ours.

    It may when it holds a blob of some row, or when no row has any.
    """
    samples = " UNION ALL ".join(
        f"(SELECT key FROM ({each}) AS rows LIMIT {SAMPLE})" for each in references
    )
    rows = await database.fetch(samples)
    for row in rows:
        try:
            await blobs.stat(row["key"])
        except NotFound:
            continue
        return True
    return not rows
