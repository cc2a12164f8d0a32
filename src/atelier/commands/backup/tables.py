"""Copies the rows of every table out of one snapshot, and back into tables of the same shape.

By COPY in text form: it needs no program beside us, and any PostgreSQL reads what any other wrote.
Knows no blob.
"""

from __future__ import annotations

import gzip
from collections.abc import Collection
from pathlib import Path

import asyncpg

from atelier import locks
from atelier.accounts.models import AccountLink, OwnerUsage, RefreshFamily
from atelier.blobs.ownership import Instance
from atelier.commands.backup.archive import BackupError, Sequence, Table, digest, table_file
from atelier.database import CONNECT_SECONDS, KEEPALIVE, Base
from atelier.errors import Unavailable
from atelier.migrations import tables as models  # noqa: F401 - fills Base.metadata

# In the order in which they can be filled: a table after those that it refers to.
OURS = [*(str(table.name) for table in Base.metadata.sorted_tables), "files"]
BOOKKEEPING = {"alembic_version", "django_migrations"}  # written by the migrations, not copied
LOCK_SECONDS = 60  # a collector's batch; longer means another backup
LETS_IN = (RefreshFamily.__tablename__, AccountLink.__tablename__)
COMPRESSION = 3  # of gzip: half the time of the default for a tenth more bytes
SESSION = {
    "application_name": "atelier backup",
    "statement_timeout": "0",
    "idle_session_timeout": "0",  # the connection holds the lock while blobs are copied
    "idle_in_transaction_session_timeout": "0",
    "lock_timeout": f"{LOCK_SECONDS}s",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
} | KEEPALIVE
_COLUMNS = """
    SELECT c.relname AS name, array_agg(a.attname::text ORDER BY a.attnum) AS columns
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
    WHERE c.relkind IN ('r', 'p') AND c.relnamespace = current_schema()::regnamespace
      AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    GROUP BY c.relname
"""
_IDENTITIES = """
    SELECT c.relname AS name, a.attname AS "column",
           pg_get_serial_sequence(quote_ident(c.relname), a.attname) AS sequence
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
    WHERE c.relname = any($1) AND c.relnamespace = current_schema()::regnamespace
        AND a.attidentity <> ''
"""
# The instance that was backed up may still run. If the restored one had its name too, it could be
# pointed at that instance's store and remove its blobs.
# Rows that are copied in are counted twice: as they were, and by their triggers. A person without
# a row is counted anew when that is needed.
_UNCOUNT = "DELETE FROM owner_usage"
# Triggers make a space of a new account and rows of a new picture's tags; those that are copied in
# bring theirs.
_AS_THEY_WERE, _AS_EVER = (
    "; ".join(f"ALTER TABLE {table} {word} TRIGGER USER" for table in ("users", "images"))
    for word in ("DISABLE", "ENABLE")
)
_RENAME = "UPDATE instance SET id = gen_random_uuid()::text"


async def connect(url: str) -> asyncpg.Connection:
    """Yield a connection without timeouts, whose texts are the same on every server."""
    try:
        return await asyncpg.connect(url, timeout=CONNECT_SECONDS, server_settings=SESSION)
    except (OSError, TimeoutError) as error:
        raise Unavailable("the database does not answer") from error


async def hold(connection: asyncpg.Connection) -> None:
    """Keep every blob that a row refers to from now on, until the connection ends.

    One backup at a time.
    """
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", locks.BLOB_REMOVAL)
    except asyncpg.LockNotAvailableError:
        raise BackupError("another backup of this database is under way: wait for it") from None


async def no_migration(connection: asyncpg.Connection) -> None:
    """Lock the shape of the tables, at once or not at all.

    Waiting for a running migration could block it: see `take_turn` in migrations/env.py.
    """
    for lock in (locks.MIGRATION, locks.FILES_MIGRATION):
        if not await connection.fetchval("SELECT pg_try_advisory_lock_shared($1)", lock):
            raise BackupError("a migration is under way: make the backup after it")


async def allow_migrations(connection: asyncpg.Connection) -> None:
    """Unlock the shape of the tables."""
    for lock in (locks.MIGRATION, locks.FILES_MIGRATION):
        await connection.execute("SELECT pg_advisory_unlock_shared($1)", lock)


async def columns(connection: asyncpg.Connection) -> dict[str, list[str]]:
    """Return every table and its columns, without the bookkeeping of the migrations."""
    found = {row["name"]: row["columns"] for row in await connection.fetch(_COLUMNS)}
    return {name: found[name] for name in sorted(found) if name not in BOOKKEEPING}


async def write(connection: asyncpg.Connection, draft: Path) -> list[Table]:
    """Copy the rows of all our tables, within the caller's snapshot."""
    found, tables = await columns(connection), []
    for name in OURS:
        path = table_file(draft, name)
        with gzip.open(path, "wb", COMPRESSION) as file:
            status = await connection.copy_from_table(name, columns=found[name], output=file)
        tables.append(Table(name, found[name], _count(status), digest(path)))
    return tables


async def sequences(connection: asyncpg.Connection) -> list[Sequence]:
    """Return where the identity columns continue.

    Read after the rows: sequences know no snapshot, and must not be behind them.
    """
    found = []
    for row in await connection.fetch(_IDENTITIES, OURS):
        last, called = await connection.fetchrow(
            f"SELECT last_value, is_called FROM {row['sequence']}"
        )
        found.append(Sequence(row["name"], row["column"], last, called))
    return found


async def read(
    connection: asyncpg.Connection,
    backup: Path,
    tables: list[Table],
    numbers: list[Sequence],
    revision: str,
) -> None:
    """Fill empty tables of the backup's shape, all or none, and rename the database's instance.

    `revision` makes the schema usable again.
    """
    found = await columns(connection)
    if found != {table.name: table.columns for table in tables}:
        raise BackupError(f"the tables of {backup} are not those of its schema {revision}")
    async with connection.transaction():
        await connection.execute(f"TRUNCATE {', '.join(found)}")
        await connection.execute(_AS_THEY_WERE)
        for table in tables:
            with gzip.open(table_file(backup, table.name)) as file:
                status = await connection.copy_to_table(
                    table.name, columns=table.columns, source=file
                )
            if _count(status) != table.rows:
                raise BackupError(
                    f"{_count(status)} rows of {table.name} were read, not {table.rows}"
                )
        await connection.execute(_AS_EVER)
        for row in await connection.fetch(_IDENTITIES, list(found)):
            number = next(
                each
                for each in numbers
                if (each.table, each.column) == (row["name"], row["column"])
            )
            await connection.execute(
                "SELECT setval($1::text::regclass, $2, $3)",
                row["sequence"],
                number.last,
                number.called,
            )
        if Instance.__tablename__ in found:  # else a migration will make it
            await connection.execute(_RENAME)
        if OwnerUsage.__tablename__ in found:
            await connection.execute(_UNCOUNT)
        await _end_sessions(connection, found)
        await connection.execute("INSERT INTO alembic_version (version_num) VALUES ($1)", revision)
    await connection.execute("ANALYZE")


async def _end_sessions(connection: asyncpg.Connection, found: Collection[str]) -> None:
    """Remove what would let somebody in, as it was when the backup was made.

    Whoever was signed out or disabled since then, or has used a link, would be back.
    """
    for name in LETS_IN:
        if name in found:  # else a migration will make it
            await connection.execute(f"DELETE FROM {name}")


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])
