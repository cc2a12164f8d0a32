"""`atelier restore`: a backup into an empty instance that is not running.

Refuses an instance that is not empty. Order: the tables in the backup's schema, unusable (no
revision) until they are filled; the blobs; then all rows in one transaction, which gives the
schema its revision; then the migrations since. A restore that is killed before that transaction
leaves an instance that does not start: `atelier migrate` refuses tables without a revision.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import asyncpg
from redis.exceptions import RedisError
from rich.console import Console

from atelier import bootstrap
from atelier.blobs import Blobs, ownership
from atelier.commands.backup import copies, tables
from atelier.commands.backup.archive import (
    LIST,
    Archive,
    BackupError,
    Manifest,
    lines,
    read_manifest,
    verify,
)
from atelier.commands.database import idle_database
from atelier.commands.migrate import knows, migrate, reach, share
from atelier.database import ERRORS, Database
from atelier.errors import Unavailable
from atelier.settings import Settings
from atelier.up.engines.errors import from_os_error


def main(settings: Settings, folder: Path, name: str | None) -> int:
    """Restore the newest backup of `folder`, or the one of that name; return the exit code.

    Raises BackupError.
    """
    console = Console(highlight=False, soft_wrap=True)
    archive = Archive(folder)
    try:
        backup = archive.pick(name)
        manifest = read_manifest(backup)
        if not knows(manifest.alembic, manifest.django):
            raise BackupError(
                f"{backup} has schema {manifest.alembic}, newer than this version: "
                f"restore it with Atelier {manifest.atelier} or later"
            )
        verify(backup, manifest)
        with idle_database(settings) as database:
            url = database.owner_url
            asyncio.run(_fill(settings, url, archive, backup, manifest))
            migrate(url)
            share(url, database.client_url)
            asyncio.run(_adopt(settings, url))
    except OSError as error:
        raise from_os_error(error, archive.folder) from error
    except ERRORS as error:
        raise BackupError(
            f"the database failed ({error}): empty the target and start again"
        ) from error
    console.print(
        f"{backup.name} is restored: {manifest.blobs} blobs, events up to position "
        f"{manifest.position}."
    )
    console.print("Every session has ended: people sign in again.")
    console.print("Start it, then run `atelier check --deep`.")
    if settings.secret is None and not (settings.data / "secret").exists():
        console.print("There is no secret: a new one will be made.")
    return 0


async def _fill(
    settings: Settings, url: str, archive: Archive, backup: Path, manifest: Manifest
) -> None:
    store, scratch = bootstrap.open_blobs(settings), settings.incoming_folder
    os.makedirs(scratch, exist_ok=True)  # noqa: PTH103 - no other task waits for this loop
    connection = await tables.connect(url)
    try:
        await _refuse_what_is_there(settings, connection, store)
        # In a thread: Django refuses to migrate where an event loop runs.
        await asyncio.to_thread(reach, url, manifest.alembic, max(manifest.django))
        await connection.execute("DELETE FROM alembic_version")
        await _blobs(bootstrap.open_store(settings, archive.blobs), backup, store, scratch)
        await tables.read(
            connection, backup, manifest.tables, manifest.sequences, manifest.alembic
        )
    finally:
        await connection.close()


async def _adopt(settings: Settings, url: str) -> None:
    """Mark the store as this database's: it was empty, so an older mark counts for nothing."""
    database = Database(url, connections=1)
    try:
        await ownership.adopt(database, bootstrap.open_blobs(settings))
    finally:
        await database.close()


async def _blobs(copied: Blobs, backup: Path, store: Blobs, scratch: Path) -> None:
    wanted = (copies.Wanted(key, sha256) for key, sha256 in lines(backup / LIST))
    async for made in copies.copy(copied, store, scratch, wanted):
        if made.sha256 is None or made.corrupt:
            state = "missing from" if made.sha256 is None else "corrupt in"
            raise BackupError(
                f"{made.key} is {state} the backup: restore another backup, from another disk"
            )


async def _refuse_what_is_there(
    settings: Settings, connection: asyncpg.Connection, store: Blobs
) -> None:
    """Raise BackupError when anything would be overwritten: the operator must remove it first."""
    found = []
    if await tables.columns(connection):
        found.append("the database has tables (use an empty one, or another --data folder)")
    async for stat in store.list(""):
        found.append(f"the blob store holds {stat.key} and more (use an empty one)")
        break
    if keys := await _redis_keys(settings):
        found.append(
            f"Redis holds {keys} (it may know rows that the backup does not: FLUSHDB, or another "
            "--data folder)"
        )
    if found:
        raise BackupError(f"the target is not empty: {'; '.join(found)}")


async def _redis_keys(settings: Settings) -> str:
    """Another instance's keys in Redis: jobs, cached records, positions of the event bus."""
    if settings.redis_url is None:
        return (
            "the data of an embedded Valkey"
            if any((settings.data / "valkey").glob("appendonlydir/*"))
            else ""
        )
    redis = bootstrap.open_redis(settings)
    try:
        count = await redis.dbsize()
    except RedisError as error:
        raise Unavailable(
            "Redis does not answer: whether it knows rows of another instance must be looked at"
        ) from error
    finally:
        await redis.aclose()
    return f"{count} keys" if count else ""
