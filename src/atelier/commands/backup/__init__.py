"""`atelier backup`: rows and blobs of one moment, while everything runs.

Order: hold the blobs (no deletion removes one), then the snapshot of the rows, then the blobs that
these refer to, then the manifest. Blobs copied by an earlier run are not copied again.
docs/howto/backup.md has the reasoning.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import asyncpg
from rich.console import Console

from atelier import bootstrap
from atelier.blobs import Blobs
from atelier.commands.backup import copies, tables
from atelier.commands.backup.archive import (
    FORMAT,
    LIST,
    UNKNOWN,
    WANTED,
    Archive,
    BackupError,
    Manifest,
    Sequence,
    Table,
    digest,
    line,
    lines,
)
from atelier.commands.check import ROWS
from atelier.commands.migrate import is_ahead, is_current, schema
from atelier.database import ERRORS
from atelier.events.messages import utcnow
from atelier.settings import Settings
from atelier.up.engines.errors import from_os_error
from atelier.up.preflight import SECRET

SAY_EVERY = 10_000  # blobs between two lines on the console
SHOWN = 20  # keys printed per finding
# Digest and key of every blob that a row refers to, in the form of `sha256sum`, in Python's order.
_WANTED = f"""
    SELECT coalesce(max(sha256), '{UNKNOWN}') || '  ' || key FROM ({ROWS}) AS rows
    GROUP BY key ORDER BY key COLLATE "C"
"""
_POSITION = "SELECT coalesce(max(position), 0) FROM relay_position"
_DJANGO = "SELECT name::text FROM django_migrations WHERE app = 'files' ORDER BY name"


class Rows(NamedTuple):
    """The rows of the snapshot that are in the draft."""

    postgres: str
    alembic: str
    django: list[str]
    position: int
    tables: list[Table]
    sequences: list[Sequence]


class Kept(NamedTuple):
    """The blobs of the snapshot."""

    total: int
    size: int
    new: int
    missing: list[str]
    corrupt: list[str]


def main(settings: Settings, folder: Path, keep: int | None) -> int:
    """Make a backup in `folder`; 1 when rows refer to missing or corrupt blobs, else 0.

    Raises BackupError.
    """
    _refuse_inside(settings, folder)
    console = Console(highlight=False, soft_wrap=True)
    archive = Archive(folder)
    try:
        with archive.locked():
            made, kept = asyncio.run(_make(settings, archive, console))
            asyncio.run(prune(bootstrap.open_store(settings, archive.blobs), archive, keep))
    except OSError as error:
        raise from_os_error(error, archive.folder) from error
    except ERRORS as error:
        raise BackupError(
            f"lost the database ({error}): start again, what was copied is kept"
        ) from error
    console.print(f"{made}: {kept.total} blobs ({kept.new} new), {kept.size / 1024**2:.1f} MiB")
    for name, found in (("missing", kept.missing), ("corrupt", kept.corrupt)):
        if found:
            console.print(
                f"{len(found)} {name} in the store, see `atelier check --deep`: "
                f"{', '.join(found[:SHOWN])}"
            )
    secret = settings.spelled("secret") if settings.secret else settings.data.absolute() / SECRET
    console.print(
        f"Not inside: the secret that signs tokens ({secret}), settings, Redis. Keep the secret "
        "elsewhere."
    )
    return int(bool(kept.missing or kept.corrupt))


def _refuse_inside(settings: Settings, folder: Path) -> None:
    """Raise BackupError for a folder that would be lost together with the data."""
    for name, place in (
        ("data folder", settings.data),
        ("folder of blobs", settings.blobs_folder),
    ):
        if place is not None and folder.resolve().is_relative_to(place.resolve()):
            raise BackupError(
                f"{folder.resolve()} is inside the {name} {place.resolve()}: a backup there is "
                "lost with it; "
                "choose a folder elsewhere, best on another disk"
            )


async def _make(settings: Settings, archive: Archive, console: Console) -> tuple[Path, Kept]:
    url = bootstrap.database_url(settings)
    connection = await tables.connect(url)
    try:
        await tables.hold(connection)
        now = utcnow()
        draft = archive.draft(now)
        rows = await _rows(connection, url, draft)
        console.print(
            f"{sum(table.rows for table in rows.tables)} rows of {len(rows.tables)} tables"
        )
        kept = await _blobs(settings, archive, draft, console)
        # The connection that holds the blobs still stands: nothing was removed meanwhile.
        await connection.execute("SELECT 1")
    finally:
        with suppress(*ERRORS):
            await connection.close()
    manifest = Manifest(
        format=FORMAT,
        made_at=now,
        atelier=version("atelier"),
        **rows._asdict(),
        blobs=kept.total,
        bytes=kept.size,
        blobs_sha256=digest(draft / LIST),
        missing=kept.missing,
        corrupt=kept.corrupt,
    )
    return archive.finish(draft, manifest), kept


async def _rows(connection: asyncpg.Connection, url: str, draft: Path) -> Rows:
    await tables.no_migration(connection)
    if is_ahead(schema(url)):
        raise BackupError(
            "the database has the schema of a newer version: back it up with that version"
        )
    if not is_current(url):
        raise BackupError(
            "the database does not have the schema of this version: run `atelier migrate` first"
        )
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        rows = Rows(
            postgres=await connection.fetchval("SHOW server_version"),
            alembic=await connection.fetchval("SELECT version_num FROM alembic_version"),
            django=[row["name"] for row in await connection.fetch(_DJANGO)],
            position=await connection.fetchval(_POSITION),
            tables=await tables.write(connection, draft),
            sequences=await tables.sequences(connection),
        )
        await connection.copy_from_query(_WANTED, output=draft / WANTED)
    await tables.allow_migrations(connection)
    return rows


async def _blobs(settings: Settings, archive: Archive, draft: Path, console: Console) -> Kept:
    source, target = bootstrap.open_blobs(settings), bootstrap.open_store(settings, archive.blobs)
    count = size = new = 0
    missing, corrupt = [], []
    with (draft / LIST).open("w", encoding="ascii") as file:
        async for made in copies.copy(source, target, draft, _wanted(archive, draft)):
            if made.sha256 is None:
                missing.append(made.key)
                continue
            file.write(line(made.key, made.sha256))
            count, size, new = count + 1, size + made.size, new + made.new
            if made.corrupt:
                corrupt.append(made.key)
            if count % SAY_EVERY == 0:
                console.print(f"{count} blobs")
    return Kept(count, size, new, missing, corrupt)


def _wanted(archive: Archive, draft: Path) -> Iterator[copies.Wanted]:
    """The blobs that the rows refer to, with the digests that the last backup recorded."""
    whole = archive.whole()
    known = copies.Known(lines(whole[-1] / LIST) if whole else iter(()))
    for key, sha256 in lines(draft / WANTED):
        yield copies.Wanted(key, None if sha256 == UNKNOWN else sha256, known(key))


async def prune(blobs: Blobs, archive: Archive, keep: int | None) -> None:
    """Remove unfinished backups, and whole ones beyond the newest `keep` (None: keep all).

    Their blobs are removed too, unless a whole backup has them.
    """
    for backup in archive.whole()[:-keep] if keep else []:
        archive.demote(backup)
    for gone in archive.unfinished():
        chunk: list[str] = []
        for key in archive.unneeded(gone):
            chunk.append(key)
            if len(chunk) == SAY_EVERY:
                await blobs.delete(chunk)
                chunk = []
        await blobs.delete(chunk)
        archive.remove(gone)
