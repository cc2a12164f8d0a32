"""A store and a database that do not belong together are noticed before anything is lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from atelier import belonging
from atelier.adapters.blobs.directory import DirectoryBlobs
from atelier.adapters.blobs.mark import UNFINISHED
from atelier.belonging import WrongStore
from atelier.database import Database
from atelier.roles.store import REFERENCED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from atelier.adapters.blobs import Blobs

TASK = """
    INSERT INTO tasks (owner_id, meta, free, blob, format, media_type, size, sha256, sequence, created_at)
    VALUES ($1, '', true, $2, 'jpeg', 'image/jpeg', 1, '', 1, now())
"""
USER = """
    INSERT INTO users (email, email_folded, password_hash, sequence, created_at)
    VALUES ('a@b.c', 'a@b.c', '', 1, now()) RETURNING id
"""


@pytest.fixture
async def database(fresh_database_url: str) -> AsyncIterator[Database]:
    """A database without rows."""
    database = Database(fresh_database_url)
    yield database
    await database.close()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    """A store without a mark."""
    return DirectoryBlobs(tmp_path / "blobs")


async def refer(database: Database, *keys: str) -> None:
    """Rows that refer to these blobs."""
    owner = (await database.fetch(USER))[0]["id"]
    for key in keys:
        await database.fetch(TASK, owner, key)


async def test_a_new_store_becomes_ours(database: Database, blobs: Blobs) -> None:
    """An empty store of an empty database is marked, once; then it is known."""
    assert not await belonging.belongs(database, blobs, REFERENCED)
    await asyncio.gather(*(belonging.claim(database, blobs, REFERENCED) for _ in range(5)))
    assert await belonging.belongs(database, blobs, REFERENCED)
    await belonging.require(database, blobs)
    assert [stat async for stat in blobs.list()] == []


async def test_a_store_from_before_marks_becomes_ours(database: Database, blobs: Blobs) -> None:
    """A store without a mark that holds what a row refers to is marked, though other blobs are missing."""
    await blobs.put("tasks/there", b"x")
    await refer(database, "tasks/missing", "tasks/there")
    await belonging.claim(database, blobs, REFERENCED)
    await belonging.require(database, blobs)


async def test_an_empty_store_of_a_full_database_is_refused(database: Database, blobs: Blobs) -> None:
    """A store without a mark that holds nothing of what rows refer to is no new store: a volume is not mounted."""
    await refer(database, "tasks/missing")
    with pytest.raises(WrongStore, match="is the volume mounted"):
        await belonging.claim(database, blobs, REFERENCED)
    assert await blobs.mark() is None
    await belonging.adopt(database, blobs)
    await belonging.claim(database, blobs, REFERENCED)


@pytest.mark.parametrize(
    ("mark", "words"),
    [
        (b'{"instance": "00000000-0000-0000-0000-000000000000"}', "belongs to another database"),
        (b"rubbish", r"belongs to another database \(unreadable"),
        (UNFINISHED, "unfinished copy"),
    ],
)
async def test_a_store_of_another_database_is_refused(
    database: Database, blobs: Blobs, mark: bytes, words: str
) -> None:
    """Another's mark, one that cannot be read and that of half a copy are refused until somebody adopts the store."""
    await blobs.set_mark(mark)
    with pytest.raises(WrongStore, match=words):
        await belonging.claim(database, blobs, REFERENCED)
    with pytest.raises(WrongStore):
        await belonging.require(database, blobs)
    assert await blobs.mark() == mark
    await belonging.adopt(database, blobs)
    await belonging.require(database, blobs)


async def test_nothing_is_removed_from_a_store_without_a_mark(database: Database, blobs: Blobs) -> None:
    """Whoever removes blobs asks for the mark each time: a store may have been exchanged meanwhile."""
    with pytest.raises(WrongStore):
        await belonging.require(database, blobs)
