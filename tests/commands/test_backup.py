"""Backup and restore: rows and blobs of one moment, complete, into an empty instance only."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
import pytest
from pydantic import SecretStr
from redis import Redis

from atelier import bootstrap, locks
from atelier.blobs import garbage, new_key, ownership
from atelier.commands import backup
from atelier.commands.backup import archive, restore, tables
from atelier.commands.check import check
from atelier.commands.migrate import is_current, migrate
from atelier.database import Database
from atelier.errors import Conflict, Unavailable
from atelier.roles.store import REFERENCED
from atelier.settings import Settings
from tests.s3 import KEYS
from tests.waiting import until

if TYPE_CHECKING:
    from tests.s3 import S3Server

USER = """
    INSERT INTO users (email, email_folded, password_hash, sequence, created_at)
    VALUES ('ada@example.org', 'ada@example.org', '-', 1, now()) RETURNING id
"""
TASK = """
    WITH task AS (
        INSERT INTO tasks (owner_id, meta, free, blob, format, media_type, size, sha256,
          sequence, created_at)
        SELECT id, 'tabs\tlines\n\\ and NULL', true, :key, 'jpeg', 'image/jpeg', :size, :sha256, 1,
          now()
        FROM users
        RETURNING *
    )
    INSERT INTO outbox (type, subject, sequence, data)
    SELECT 'task.created', 'tasks/' || id, 1, '{"a": null}' FROM task
"""
SESSION = """
    INSERT INTO refresh_families (id, user_id, token_sha256, created_at, expires_at)
    SELECT gen_random_uuid(), id, '', now(), now() + interval '1 day' FROM users
"""
LINK = """
    INSERT INTO account_links (kind, token_sha256, user_id, created_at, expires_at)
    SELECT 'reset', '', id, now(), now() + interval '1 hour' FROM users
"""
FORGET = "DELETE FROM tasks WHERE blob = :key"
LATER = timedelta(hours=1)


class Instance:
    """An instance's database and store, without its processes."""

    def __init__(self, folder: Path, database_url: str, redis_url: str, **store: str) -> None:
        self.settings = Settings(
            data=folder, database_url=database_url, redis_url=redis_url, **store
        )
        self.url = database_url
        self.blobs = bootstrap.open_blobs(self.settings)

    def execute(self, statement: str) -> list[Any]:
        """Run one statement and commit it."""
        with psycopg.connect(self.url) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def dump(self) -> dict[str, list[Any]]:
        """Every row of every table."""
        return {
            name: sorted(self.execute(f"SELECT t::text FROM {name} AS t")) for name in tables.OURS
        }

    def add(self, *contents: bytes) -> list[str]:
        """A task with a picture of its own for each of the contents; their keys."""
        return asyncio.run(_with(self, lambda database: _add(self, database, contents)))

    def agrees(self) -> bool:
        """The outcome of `atelier check --deep`."""
        return asyncio.run(
            _with(self, lambda database: check(database, self.blobs, deep=True))
        ).agrees

    def stored(self) -> dict[str, bytes]:
        """Every blob."""
        root = self.settings.blobs_folder
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(root).parts)
        }


def but_its_name(dump: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The rows of all tables but the one that says which instance it is."""
    return {name: rows for name, rows in dump.items() if name != "instance"}


async def _with(instance: Instance, action: Any) -> Any:
    database = Database(instance.url)
    try:
        return await action(database)
    finally:
        await database.close()


async def _add(instance: Instance, database: Database, contents: tuple[bytes, ...]) -> list[str]:
    keys = []
    for content in contents:
        key = new_key("tasks", "original")
        await garbage.intend(database, [key], LATER)
        await instance.blobs.put(key, content)
        async with database.session() as session:
            await garbage.claim(session, [key])
            values = {
                "key": key,
                "size": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
            await session.execute(garbage.text(TASK), values)
            await session.commit()
        keys.append(key)
    return keys


async def _forget(instance: Instance, database: Database, key: str) -> None:
    async with database.session() as session:
        await garbage.discard(session, [key])
        await session.execute(garbage.text(FORGET), {"key": key})
        await session.commit()
    await garbage.remove(database, instance.blobs, [key])


@pytest.fixture
def instance(tmp_path: Path, fresh_database_url: str, redis_url: str) -> Instance:
    """An instance with one user."""
    instance = Instance(tmp_path / "instance", fresh_database_url, redis_url)
    instance.execute(USER)
    return instance


@pytest.fixture
def target(tmp_path: Path, empty_database_url: str, redis_url: str) -> Instance:
    """A place where nothing is yet."""
    with Redis.from_url(redis_url) as redis:
        redis.flushdb()
    return Instance(tmp_path / "target", empty_database_url, redis_url)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where backups go."""
    return tmp_path / "backups"


def test_what_comes_back_is_what_was_there(
    instance: Instance, target: Instance, folder: Path
) -> None:
    """Every row and every blob is in the restored instance, and ids go on where they were."""
    instance.add(b"one", b"two" * 1_000_000, b"")
    instance.execute("DELETE FROM tasks WHERE id = 3")  # its number is never given again
    instance.execute("UPDATE blob_garbage SET after = now()")
    assert backup.main(instance.settings, folder, None) == 0
    before = instance.dump()
    assert restore.main(target.settings, folder, None) == 0
    assert but_its_name(target.dump()) == but_its_name(before)
    assert is_current(target.url)
    kept = {row[0] for row in instance.execute("SELECT blob FROM tasks")}
    assert target.stored() == {
        key: content for key, content in instance.stored().items() if key in kept
    }
    assert target.agrees()
    target.add(b"new")
    assert target.execute("SELECT max(id) FROM tasks") == [(4,)]


def test_what_people_keep_is_counted_anew_after_a_restore(
    instance: Instance, target: Instance, folder: Path
) -> None:
    """The rows that are copied in do not count beside the count that was copied in."""
    instance.execute("INSERT INTO owner_usage SELECT id, 0, 0 FROM users")
    instance.add(b"one", b"two")
    assert instance.execute("SELECT objects, bytes FROM owner_usage") == [(2, 6)]
    assert backup.main(instance.settings, folder, None) == 0
    assert restore.main(target.settings, folder, None) == 0
    assert target.execute("SELECT objects, bytes FROM owner_usage") == []


def test_a_restore_ends_every_session(
    instance: Instance, target: Instance, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever signed out, or was disabled, after the backup is not let in again by it."""
    instance.execute(SESSION)
    instance.execute(LINK)
    assert backup.main(instance.settings, folder, None) == 0
    assert restore.main(target.settings, folder, None) == 0
    assert target.execute("SELECT count(*) FROM users") == [(1,)]
    for table in ("refresh_families", "account_links"):
        assert instance.execute(f"SELECT count(*) FROM {table}") == [(1,)]
        assert target.execute(f"SELECT count(*) FROM {table}") == [(0,)]
    assert "people sign in again" in capsys.readouterr().out


def test_a_restored_instance_has_a_name_of_its_own(
    instance: Instance, target: Instance, folder: Path
) -> None:
    """A restored instance is refused the store of its original, whose blobs it would remove."""
    instance.add(b"one")
    asyncio.run(_with(instance, lambda database: ownership.claim(database, instance.blobs, ())))
    backup.main(instance.settings, folder, None)
    assert restore.main(target.settings, folder, None) == 0
    assert asyncio.run(
        _with(target, lambda database: ownership.belongs(database, target.blobs, REFERENCED))
    )
    with pytest.raises(ownership.WrongStore, match="another database"):
        asyncio.run(
            _with(target, lambda database: ownership.belongs(database, instance.blobs, REFERENCED))
        )


def test_a_backup_is_its_owners_alone(instance: Instance, folder: Path) -> None:
    """In a folder that everybody may enter, too: it holds password hashes and sessions."""
    folder.mkdir(0o755)
    instance.add(b"one")
    backup.main(instance.settings, folder, None)
    files = {path for path in folder.rglob("*") if path.is_file() and path.name != archive.LOCK}
    closed = {path for path in files if not path.stat().st_mode & 0o007}
    closed |= {
        path
        for above in folder.iterdir()
        if not above.stat().st_mode & 0o007
        for path in above.rglob("*")
    }
    assert {path.name for path in files - closed} == set()


def test_the_next_backup_copies_only_what_is_new(
    instance: Instance, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Blobs that an earlier backup has are not copied again; a copy that rotted is."""
    first, *_ = instance.add(b"one", b"two")
    backup.main(instance.settings, folder, None)
    assert "2 blobs (2 new)" in capsys.readouterr().out
    instance.add(b"three")
    backup.main(instance.settings, folder, None)
    assert "3 blobs (1 new)" in capsys.readouterr().out
    (folder / "blobs" / first).write_bytes(b"rot")
    (archive.Archive(folder).whole()[-1] / archive.LIST).unlink()  # no digests to believe
    assert backup.main(instance.settings, folder, None) == 0
    assert "3 blobs (1 new)" in capsys.readouterr().out
    assert (folder / "blobs" / first).read_bytes() == b"one"


def test_old_backups_go_with_the_blobs_that_only_they_had(
    instance: Instance, folder: Path
) -> None:
    """`--keep` leaves the newest, and of the blobs those that these have."""
    old, kept = instance.add(b"old", b"kept")
    backup.main(instance.settings, folder, None)
    asyncio.run(_with(instance, lambda database: _forget(instance, database, old)))
    backup.main(instance.settings, folder, None)
    backup.main(instance.settings, folder, 2)
    assert len(archive.Archive(folder).whole()) == 2
    assert not (folder / "blobs" / old).exists()
    assert (folder / "blobs" / kept).exists()


@pytest.mark.parametrize(
    ("damage", "word"),
    [(Path.unlink, "missing"), (lambda path: path.write_bytes(b"?"), "corrupt")],
)
def test_a_damaged_store_is_backed_up_and_reported(
    instance: Instance, folder: Path, damage: Any, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing or altered blob is reported in the exit code, and all others are backed up."""
    bad, _ = instance.add(b"one", b"two")
    damage(instance.settings.blobs_folder / bad)
    assert backup.main(instance.settings, folder, None) == 1
    assert f"1 {word}" in capsys.readouterr().out
    (whole,) = archive.Archive(folder).whole()
    assert getattr(archive.read_manifest(whole), word) == [bad]


def test_uploads_and_deletions_go_on_meanwhile(
    instance: Instance, target: Instance, folder: Path
) -> None:
    """A backup made while pictures come and go refers to no blob that it does not have."""
    instance.add(*(f"{number}".encode() for number in range(200)))
    stop = threading.Event()

    async def churn(database: Database) -> None:
        while not stop.is_set():
            keys = await _add(instance, database, (os.urandom(9_000), os.urandom(9_000)))
            (oldest,) = await database.fetch("SELECT blob FROM tasks ORDER BY id LIMIT 1")
            for key in (keys[0], oldest["blob"]):
                await _forget(instance, database, key)
            await database.fetch(
                "UPDATE blob_garbage SET after = clock_timestamp() WHERE NOT intent"
            )
            await garbage.collect(database, instance.blobs)

    busy = threading.Thread(target=lambda: asyncio.run(_with(instance, churn)))
    busy.start()
    try:
        assert backup.main(instance.settings, folder, None) == 0
    finally:
        stop.set()
        busy.join()
    assert restore.main(target.settings, folder, None) == 0
    assert target.agrees()
    assert len(target.stored()) == target.execute("SELECT count(*) FROM tasks")[0][0] >= 150
    assert instance.agrees()


@pytest.mark.parametrize("below", ["data/backup", "pictures", "data/link/backup"])
def test_a_backup_is_not_kept_in_what_it_is_of(tmp_path: Path, below: str) -> None:
    """A target inside the data or blobs folder is refused before anything is written."""
    (tmp_path / "data").mkdir()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path / "pictures")
    settings = Settings(data=tmp_path / "data", blobs=str(tmp_path / "pictures"))
    with pytest.raises(
        archive.BackupError, match=rf"inside the (data folder|folder of blobs) {tmp_path}/\w+: "
    ):
        backup.main(settings, tmp_path / below, None)
    assert not (tmp_path / below / "lock").exists()


def test_a_backup_says_where_the_secret_is(
    instance: Instance, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not inside, so its place is named: the file in the data folder, or the setting."""
    assert backup.main(instance.settings, folder, None) == 0
    assert f"({instance.settings.data / 'secret'})" in capsys.readouterr().out
    settings = instance.settings.model_copy(update={"secret": SecretStr("s" * 32)})
    assert backup.main(settings, folder, None) == 0
    assert "signs tokens (ATELIER_SECRET)" in capsys.readouterr().out


def test_a_killed_backup_is_no_backup(instance: Instance, target: Instance, folder: Path) -> None:
    """Killed in the middle it is never restored.

    The next one goes on with what was copied and tidies up.
    """
    last = instance.settings.blobs_folder / max(
        instance.add(*(os.urandom(200) for _ in range(300)))
    )
    last.rename(folder.with_name("last"))
    os.mkfifo(last)  # the backup stops there, and cannot be done before it is killed
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith("ATELIER_")
    }
    environment["ATELIER_DATABASE_URL"] = instance.url
    words = ["backup", str(folder), "--data", str(instance.settings.data)]
    victim = subprocess.Popen(
        [sys.executable, "-m", "atelier", *words], env=environment, stdout=subprocess.DEVNULL
    )
    until(lambda: list(folder.glob("blobs/tasks/*/*")) or victim.poll() is not None)
    assert victim.poll() is None
    victim.kill()
    victim.wait()
    last.unlink()
    folder.with_name("last").rename(last)
    assert [path.suffix for path in folder.glob("2*")] == [".part"]
    with pytest.raises(archive.BackupError, match="no whole backup"):
        restore.main(target.settings, folder, None)
    orphan = str(next(folder.glob("blobs/tasks/*/*")).relative_to(folder / "blobs"))
    asyncio.run(_with(instance, lambda database: _forget(instance, database, orphan)))
    assert backup.main(instance.settings, folder, None) == 0
    assert not list(folder.glob("*.part"))
    assert not (folder / "blobs" / orphan).exists()
    assert restore.main(target.settings, folder, None) == 0
    assert target.agrees()


def test_one_backup_at_a_time(
    instance: Instance, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second backup into the folder or of the database is refused, or during a migration."""
    with (
        archive.Archive(folder).locked(),
        pytest.raises(archive.BackupError, match="another backup"),
    ):
        backup.main(instance.settings, folder, None)
    monkeypatch.setitem(tables.SESSION, "lock_timeout", "50ms")
    for lock, reason in ((locks.BLOB_REMOVAL, "another backup"), (locks.MIGRATION, "a migration")):
        with psycopg.connect(instance.url) as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", (lock,))
            with pytest.raises(archive.BackupError, match=reason):
                backup.main(instance.settings, tmp_path / "other", None)


def test_the_connection_that_holds_the_blobs_must_last(
    instance: Instance, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup fails when the database is lost meanwhile: deletions may have followed."""
    instance.add(b"one")
    ended = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = "
        "'atelier backup'"
    )
    copied = backup.copies.copy

    async def cut(*args: Any) -> Any:
        instance.execute(ended + " AND datname = current_database()")
        async for made in copied(*args):
            yield made

    monkeypatch.setattr(backup.copies, "copy", cut)
    with pytest.raises(archive.BackupError, match="lost the database"):
        backup.main(instance.settings, folder, None)
    assert archive.Archive(folder).whole() == []


def test_only_the_schema_of_this_version_is_backed_up(instance: Instance, folder: Path) -> None:
    """A database that is to be migrated first is refused, whatever it lacks."""
    instance.execute("DELETE FROM django_migrations WHERE app = 'files'")
    with pytest.raises(archive.BackupError, match="atelier migrate"):
        backup.main(instance.settings, folder, None)


LATER_COLUMNS = {  # since 0011
    "outbox": ("actor", "space_id"),
    "images": ("created_by",),
    "tasks": ("created_by", "queue_id", "image_id", "taken_by", "completed_at"),
    "files": ("created_by",),
    "books": ("publication_precision",),
    "account_links": ("space_id", "role", "created_by"),
}


def _change(path: Path, **changes: Any) -> None:
    manifest = msgspec.json.decode(path.read_bytes()) | changes
    path.write_bytes(msgspec.json.encode(manifest))


def test_a_backup_of_a_newer_version_is_refused(
    instance: Instance, target: Instance, folder: Path
) -> None:
    """A schema or a form that this version does not know is not restored by halves."""
    backup.main(instance.settings, folder, None)
    (whole,) = archive.Archive(folder).whole()
    manifest = whole / archive.MANIFEST
    for changes, reason in (
        ({"alembic": "9999"}, "newer than this version"),
        ({"format": 2}, "newer Atelier"),
    ):
        original = manifest.read_bytes()
        _change(manifest, **changes)
        with pytest.raises(archive.BackupError, match=reason):
            restore.main(target.settings, folder, None)
        manifest.write_bytes(original)
    assert restore.main(target.settings, folder, None) == 0


def test_a_backup_of_an_older_version_is_migrated(
    instance: Instance, target: Instance, folder: Path
) -> None:
    """The rows of an older schema go into that schema, which is then brought to the newest."""
    instance.add(b"one")
    rows = instance.dump()
    for table, columns in LATER_COLUMNS.items():
        for column in columns:
            instance.execute(f"ALTER TABLE {table} DROP COLUMN {column} CASCADE")
    backup.main(instance.settings, folder, None)
    (whole,) = archive.Archive(folder).whole()
    found = archive.read_manifest(whole)
    later = {  # made since 0011
        *("spaces", "members", "queues", "answers", "task_views", "image_tags", "trash"),
    }
    older = [table for table in found.tables if table.name not in later]
    django = [step for step in found.django if not step.startswith("0004")]
    _change(whole / archive.MANIFEST, alembic="0010", django=django, tables=older)
    assert restore.main(target.settings, folder, None) == 0
    assert is_current(target.url)
    other = later | {"instance"}  # which gets a name of its own
    assert {name: found for name, found in target.dump().items() if name not in other} == {
        name: found for name, found in rows.items() if name not in other
    }


@pytest.mark.parametrize("what", ["database", "blobs", "redis"])
def test_nothing_is_overwritten(
    instance: Instance, target: Instance, folder: Path, what: str
) -> None:
    """A target whose database, store or Redis is not empty is refused by name and left alone."""
    backup.main(instance.settings, folder, None)
    word = {
        "database": "the database has tables",
        "blobs": "the blob store holds",
        "redis": "Redis holds 1 keys",
    }[what]
    if what == "database":
        migrate(target.url)
    elif what == "blobs":
        asyncio.run(target.blobs.put("images/1", b"mine"))
    else:
        with Redis.from_url(target.settings.redis_url.get_secret_value()) as redis:
            redis.set("mine", 1)
    with pytest.raises(archive.BackupError, match=word):
        restore.main(target.settings, folder, None)


def test_what_cannot_be_asked_is_not_taken_for_empty(
    instance: Instance, target: Instance, folder: Path
) -> None:
    """Without an answer from Redis nothing is restored."""
    backup.main(instance.settings, folder, None)
    away = target.settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})
    with pytest.raises(Unavailable, match="Redis does not answer"):
        restore.main(away, folder, None)
    assert restore.main(target.settings, folder, None) == 0


def test_a_damaged_backup_is_refused(instance: Instance, target: Instance, folder: Path) -> None:
    """Altered rows are found before anything is done, an altered blob before rows are written."""
    (key,) = instance.add(b"one")
    backup.main(instance.settings, folder, None)
    (whole,) = archive.Archive(folder).whole()
    rows = archive.table_file(whole, "users")
    good = rows.read_bytes()
    rows.write_bytes(good[:-1] + b"?")
    with pytest.raises(archive.BackupError, match="not what its manifest says"):
        restore.main(target.settings, folder, None)
    rows.write_bytes(good)
    (folder / "blobs" / key).write_bytes(b"rot")
    with pytest.raises(archive.BackupError, match="corrupt"):
        restore.main(target.settings, folder, None)
    assert target.execute("SELECT count(*) FROM users") == [(0,)]
    with pytest.raises(Conflict, match="unfinished restore"):  # half of one is not started
        migrate(target.url)


def test_an_older_backup_is_chosen_by_name(
    instance: Instance, target: Instance, folder: Path
) -> None:
    """`--at` restores that moment; a name that is not there says which are."""
    instance.add(b"one")
    backup.main(instance.settings, folder, None)
    instance.add(b"two")
    backup.main(instance.settings, folder, None)
    first, second = archive.Archive(folder).whole()
    with pytest.raises(archive.BackupError, match=f"{first.name}, {second.name}"):
        restore.main(target.settings, folder, "yesterday")
    assert restore.main(target.settings, folder, first.name) == 0
    assert sorted(target.stored().values()) == [b"one"]


def test_a_bucket_is_backed_up_and_filled(
    tmp_path: Path,
    fresh_database_url: str,
    empty_database_url: str,
    redis_url: str,
    target: Instance,
    s3: S3Server,
) -> None:
    """Blobs in S3 come into the folder, and from there into another bucket.

    The store is then that database's.
    """
    where = {"s3_endpoint": s3.url, **KEYS}
    one, two = (f"s3://{s3.bucket(f'bucket-{secrets.token_hex(4)}')}/a" for _ in range(2))
    instance = Instance(tmp_path / "instance", fresh_database_url, redis_url, blobs=one, **where)
    there = Instance(tmp_path / "there", empty_database_url, redis_url, blobs=two, **where)
    instance.execute(USER)
    instance.add(b"one", b"two" * 3_000_000)
    assert backup.main(instance.settings, tmp_path / "backups", None) == 0
    assert restore.main(there.settings, tmp_path / "backups", None) == 0
    assert but_its_name(there.dump()) == but_its_name(instance.dump())
    assert there.agrees()
    assert asyncio.run(_with(there, lambda database: ownership.belongs(database, there.blobs, ())))


def test_the_lists_are_read_by_sha256sum(instance: Instance, folder: Path) -> None:
    """The documentation's quarterly drill runs."""
    instance.add(b"one", b"two")
    backup.main(instance.settings, folder, None)
    (whole,) = archive.Archive(folder).whole()
    words = ["sha256sum", "--check", "--quiet", str(whole / archive.LIST)]
    assert subprocess.run(words, cwd=folder / "blobs", check=False).returncode == 0
