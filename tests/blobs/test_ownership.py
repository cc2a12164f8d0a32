"""A store and a database that do not belong together are noticed before anything is lost."""

from __future__ import annotations

import asyncio
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest

from atelier.blobs import ownership
from atelier.blobs.directory import DirectoryBlobs
from atelier.blobs.mark import UNFINISHED, written
from atelier.blobs.ownership import WrongStore
from atelier.commands import check, doctor
from atelier.commands import ownership as commands
from atelier.database import Database
from atelier.errors import Conflict
from atelier.roles import relay, store
from atelier.roles.store import REFERENCED
from atelier.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from atelier.blobs import Blobs

TASK = """
    INSERT INTO tasks (owner_id, meta, free, blob, format, media_type, size, sha256,
       sequence, created_at)
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
    assert not await ownership.belongs(database, blobs, REFERENCED)
    await asyncio.gather(*(ownership.claim(database, blobs, REFERENCED) for _ in range(5)))
    assert await ownership.belongs(database, blobs, REFERENCED)
    assert [stat async for stat in blobs.list()] == []


async def test_a_store_from_before_marks_becomes_ours(database: Database, blobs: Blobs) -> None:
    """A store without a mark that holds a referenced blob is marked, though another is missing."""
    await blobs.put("tasks/there", b"x")
    await refer(database, "tasks/missing", "tasks/there")
    await ownership.claim(database, blobs, REFERENCED)
    assert await ownership.belongs(database, blobs, REFERENCED)


async def test_an_empty_store_of_a_full_database_is_refused(
    database: Database, blobs: Blobs
) -> None:
    """A store without any of the blobs that rows refer to is refused: a volume is missing."""
    await refer(database, "tasks/missing")
    with pytest.raises(WrongStore, match="is the volume mounted"):
        await ownership.claim(database, blobs, REFERENCED)
    assert await blobs.mark() is None
    await ownership.adopt(database, blobs)
    await ownership.claim(database, blobs, REFERENCED)


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
    """A foreign, unreadable or partial mark is refused until an operator adopts the store."""
    await blobs.set_mark(mark)
    with pytest.raises(WrongStore, match=words):
        await ownership.claim(database, blobs, REFERENCED)
    assert await blobs.mark() == mark
    await ownership.adopt(database, blobs)
    assert await ownership.belongs(database, blobs, REFERENCED)


async def test_nothing_is_removed_from_a_store_of_others(
    database: Database, blobs: Blobs, tmp_path: Path
) -> None:
    """The collector checks the mark each time: a store may be exchanged after the start."""
    settings = Settings(data=tmp_path / "data")
    # No queue is asked.
    works = relay.periodics(settings, database, blobs, None, None)  # type: ignore[arg-type]
    collect = next(work.action for work in works if work.name == "collect garbage")
    await blobs.put("tasks/a", b"x")
    await database.fetch(
        "INSERT INTO blob_garbage (key, after, intent) VALUES ('tasks/a', now(), false)"
    )
    await blobs.set_mark(written("00000000-0000-0000-0000-000000000000"))
    with pytest.raises(WrongStore):
        await collect()
    assert await blobs.get("tasks/a") == b"x"
    await ownership.adopt(database, blobs)
    await collect()
    assert [stat async for stat in blobs.list()] == []


async def test_the_commands(
    fresh_database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`blobs verify` marks a new store and refuses another's, as `check` does.

    `blobs adopt` takes it.
    """
    settings = Settings(data=tmp_path / "data", database_url=fresh_database_url)
    assert await asyncio.to_thread(commands.verify, settings) == 0
    assert "are this database's" in capsys.readouterr().out
    await DirectoryBlobs(settings.blobs_folder).set_mark(
        written("00000000-0000-0000-0000-000000000000")
    )
    with pytest.raises(WrongStore):
        await asyncio.to_thread(commands.verify, settings)
    with pytest.raises(WrongStore):
        await asyncio.to_thread(check.main, settings, deep=False)
    assert doctor_says(settings) == doctor.FAILED
    assert await asyncio.to_thread(commands.adopt, settings) == 0
    assert await asyncio.to_thread(check.main, settings, deep=False) == 0
    assert doctor_says(settings) == doctor.OK
    shutil.rmtree(settings.blobs_folder)
    settings.blobs_folder.write_bytes(b"")
    assert doctor_says(settings) == doctor.FAILED


async def test_a_database_that_was_not_migrated(empty_database_url: str, tmp_path: Path) -> None:
    """Roles and commands say what to do; the doctor leaves it to the migration."""
    settings = Settings(
        data=tmp_path / "data", database_url=empty_database_url, blobs=str(tmp_path)
    )
    for command in (commands.verify, commands.adopt, partial(check.main, deep=False)):
        with pytest.raises(Conflict, match="run `atelier migrate`"):
            await asyncio.to_thread(command, settings)
    with pytest.raises(Conflict, match="run `atelier migrate`"):
        await store.require_own(settings)
    assert doctor_says(settings) == doctor.OK


def doctor_says(settings: Settings) -> str:
    """The verdict of `atelier doctor` on the blobs."""
    with ThreadPoolExecutor(1) as thread:  # it has an event loop of its own
        findings = thread.submit(doctor.examine, settings, None).result()
    return next(found.verdict for found in findings if found.name == "blobs")
