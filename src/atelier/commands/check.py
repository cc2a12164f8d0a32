"""`atelier check`: compares rows with blobs.

Finds missing, orphaned and corrupt blobs, and gaps in the event record. Memory stays flat: the
listing goes into a temporary table and PostgreSQL compares.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import asyncpg
from rich.console import Console

from atelier import bootstrap
from atelier.blobs import Blobs, ownership
from atelier.commands.repair import repair
from atelier.database import Database
from atelier.errors import NotFound
from atelier.events import outbox
from atelier.roles.store import REFERENCED
from atelier.settings import Settings

ROWS = " UNION ALL ".join(REFERENCED)
_COLLECT_REFERENCES = f"""
    CREATE TEMPORARY TABLE referenced AS
    SELECT key, max(sha256) AS sha256, bool_or(kept) AS kept
    FROM (
        SELECT key, sha256, true AS kept FROM ({ROWS}) AS rows
        UNION ALL
        SELECT key, NULL, false FROM blob_garbage
    ) AS every_key
    GROUP BY key
"""
_MISSING = (
    "SELECT key FROM referenced WHERE kept AND NOT EXISTS (SELECT FROM listed WHERE "
    "listed.key = referenced.key)"
)
_ORPHANED = (
    "SELECT key FROM listed WHERE NOT EXISTS (SELECT FROM referenced WHERE "
    "referenced.key = listed.key)"
)
_WAITING = "SELECT count(*) FROM referenced JOIN listed USING (key) WHERE NOT kept"
_REFERRED = f"SELECT DISTINCT key FROM ({ROWS}) AS rows WHERE key = any($1::text[])"
# Held: it outlives its transaction, which would hold up vacuum for as long as all originals are
# read.
_ORIGINALS = """
    DECLARE originals CURSOR WITH HOLD FOR
    SELECT key, sha256 FROM referenced WHERE sha256 IS NOT NULL
"""
CHUNK = 10_000  # keys per COPY
PAGE = 1000  # originals whose digests are held here at once
SHOWN = 20  # keys printed per finding


@dataclass
class Report:
    """The numbers of what was compared, and the findings."""

    blobs: int = 0
    references: int = 0
    # Blobs listed as garbage: the relay removes them when they are due.
    waiting: int = 0
    missing: list[str] = field(default_factory=list)
    orphaned: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Return whether there are no findings."""
        return not (self.missing or self.orphaned or self.corrupt or self.gaps)


def main(settings: Settings, *, deep: bool, mend: bool = False) -> int:
    """Print the report, and repair if asked to; 0 when rows and blobs agreed, else 1.

    Raises WrongStore.
    """
    report = asyncio.run(_run(settings, deep=deep, mend=mend))
    return 0 if report.agrees else 1


async def _run(settings: Settings, *, deep: bool, mend: bool) -> Report:
    database = Database(bootstrap.database_url(settings), connections=1)
    try:
        blobs = bootstrap.open_blobs(settings)
        await ownership.belongs(database, blobs, REFERENCED)
        report = await check(database, blobs, deep=deep)
        console = Console(highlight=False, soft_wrap=True)
        _show(report, console)
        if mend and not report.agrees:
            console.print(
                str(
                    await repair(
                        settings, database, missing=report.missing, orphaned=report.orphaned
                    )
                )
            )
        return report
    finally:
        await database.close()


async def check(database: Database, blobs: Blobs, *, deep: bool = False) -> Report:
    """Compare every row with every blob.

    Each finding is checked again before it is reported: it may have changed meanwhile.
    """
    report = Report()
    async with (await database.pool()).acquire() as connection:
        await connection.execute("SET statement_timeout = 0")
        await connection.execute("CREATE TEMPORARY TABLE listed (key text PRIMARY KEY)")
        report.blobs = await _list(connection, blobs)
        await connection.execute(_COLLECT_REFERENCES)
        report.references = await connection.fetchval("SELECT count(*) FROM referenced WHERE kept")
        report.waiting = await connection.fetchval(_WAITING)
        missing = await connection.fetch(_MISSING)
        orphaned = await connection.fetch(_ORPHANED)
        if deep:
            await connection.execute(_ORIGINALS)
        await connection.execute("DROP TABLE listed, referenced")
        report.gaps = [row["subject"] for row in await connection.fetch(outbox.GAPS)]
        report.missing = await _still_missing(connection, blobs, [row["key"] for row in missing])
        report.orphaned = [row["key"] for row in orphaned if await _exists(blobs, row["key"])]
        report.corrupt = [key async for key in _corrupt(connection, blobs)] if deep else []
    return report


async def _list(connection: asyncpg.Connection, blobs: Blobs) -> int:
    count, chunk = 0, []
    async for stat in blobs.list(""):
        chunk.append((stat.key,))
        count += 1
        if len(chunk) == CHUNK:
            await connection.copy_records_to_table("listed", records=chunk, columns=["key"])
            chunk = []
    await connection.copy_records_to_table("listed", records=chunk, columns=["key"])
    return count


async def _still_missing(
    connection: asyncpg.Connection, blobs: Blobs, keys: Sequence[str]
) -> list[str]:
    """Those that do not exist and that rows refer to: all rows are read once, not for each."""
    gone = [key for key in keys if not await _exists(blobs, key)]
    referred = {row["key"] for row in await connection.fetch(_REFERRED, gone)} if gone else set()
    return [key for key in gone if key in referred]


async def _exists(blobs: Blobs, key: str) -> bool:
    try:
        await blobs.stat(key)
    except NotFound:
        return False
    return True


async def _corrupt(connection: asyncpg.Connection, blobs: Blobs) -> AsyncIterator[str]:
    while page := await connection.fetch(f"FETCH {PAGE} FROM originals"):
        for row in page:
            if await _differs(blobs, row["key"], row["sha256"]):
                yield row["key"]


async def _differs(blobs: Blobs, key: str, sha256: str) -> bool:
    digest = hashlib.sha256()
    try:
        async for piece in blobs.stream(key):
            digest.update(piece)
    except NotFound:
        return False  # deleted meanwhile; missing blobs have been reported
    return digest.hexdigest() != sha256


def _show(report: Report, console: Console) -> None:
    console.print(
        f"{report.blobs} blobs, {report.references} references, {report.waiting} blobs wait to "
        "be removed"
    )
    for name in ("missing", "orphaned", "corrupt", "gaps"):
        found: list[str] = getattr(report, name)
        console.print(f"{name:9} {len(found)}")
        for key in found[:SHOWN]:
            console.print(f"          {key}")
    console.print("rows and blobs agree" if report.agrees else "rows and blobs do NOT agree")
