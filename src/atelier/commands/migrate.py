"""Brings the database to the newest schema.

Safe to run twice, or from several machines at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any, LiteralString, NamedTuple

import psycopg
from psycopg import sql

from atelier import bootstrap, locks
from atelier.errors import Conflict
from atelier.settings import Settings
from atelier.startup.reachability import postgres_version
from atelier.up.engines import access

if TYPE_CHECKING:
    from alembic.config import Config

CONNECT_SECONDS = 10
ENCODING = "UTF8"
ALEMBIC = "SELECT version_num FROM alembic_version"
DJANGO = "SELECT name FROM django_migrations WHERE app = 'files'"
BOOKKEEPING = ("alembic_version", "django_migrations")  # others than migrations only read it
URL = "database_url"
NUMBER = 4  # digits at the beginning of a migration's name


class Schema(NamedTuple):
    """The migrations of a database: Alembic's newest (None: none), the names of Django's."""

    alembic: str | None
    django: frozenset[str]


def main(settings: Settings) -> int:
    """Migrate the database of `settings` and print the changes; return the exit code.

    Raises Unavailable when it does not answer.
    """
    url = bootstrap.migration_url(settings)
    postgres_version(settings, url, setting="migration_url" if settings.migration_url else URL)
    before = schema(url)
    migrate(url)
    share(url, bootstrap.database_url(settings))
    sys.stdout.writelines(f"{line}\n" for line in describe(before, schema(url)))
    return 0


def describe(before: Schema, after: Schema) -> list[str]:
    """Describe a migration, with a line for each tool whose part of the schema it changed."""
    if is_ahead(before):
        place = f"it is at {before.alembic}, files at {_newest(before.django)}"
        return [f"database: nothing to do, {place}: newer than this version, which works with it"]
    steps = [step[:NUMBER] for step in _steps("migrations", "versions")]
    made = [step for step in steps if (before.alembic or "") < step <= (after.alembic or "")]
    lines = [_change("database", before.alembic, after.alembic, len(made))] if made else []
    if new := after.django - before.django:
        lines.append(_change("files", _newest(before.django), _newest(after.django), len(new)))
    if lines:
        return lines
    return [f"database: nothing to do, it is at {after.alembic}, files at {_newest(after.django)}"]


def _change(name: str, before: str | None, after: str | None, count: int) -> str:
    return f"{name}: {before or 'empty'} -> {after} ({count} migration{'s' * (count != 1)})"


def _newest(django: frozenset[str]) -> str | None:
    return max((step[:NUMBER] for step in django), default=None)


def migrate(url: str) -> None:
    """Apply every migration that the database at `url` lacks; none to one of a newer version."""
    found = schema(url)
    if found != _known() and not is_ahead(found):
        _refuse_unfit(url)
        reach(url)


def share(url: str, client_url: str) -> None:
    """Let the role of `client_url` use the tables that the role of `url` owns, new ones included.

    Nothing is to be done where both are the same role.
    """
    with psycopg.connect(client_url, connect_timeout=CONNECT_SECONDS) as connection:
        client = connection.info.user
    with psycopg.connect(url, connect_timeout=CONNECT_SECONDS) as connection:
        if client == connection.info.user:
            return
        # Another migrator at the same time would update the same rows of the catalogue.
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (locks.SHARING,))
        [(place,)] = connection.execute("SELECT current_schema()").fetchall()
        for statement in access.grants(client, place):
            connection.execute(statement.encode())
        for table in BOOKKEEPING:
            if connection.execute("SELECT to_regclass(%s)", (table,)).fetchall()[0][0]:
                connection.execute(
                    sql.SQL("REVOKE INSERT, UPDATE, DELETE ON {} FROM {}").format(
                        sql.Identifier(table), sql.Identifier(client)
                    )
                )


def _refuse_unfit(url: str) -> None:
    """Raise Conflict for a database in the wrong encoding, or one with tables and no revision.

    The first cannot hold every text; the second holds half a restore.
    """
    with psycopg.connect(url, connect_timeout=CONNECT_SECONDS) as connection:
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != ENCODING:
            raise Conflict(
                f"the database stores text as {encoding}: make it anew with ENCODING '{ENCODING}'"
            )
        tables = (
            connection.execute(
                "SELECT to_regclass('alembic_version'), to_regclass('users')"
            ).fetchone()
            or ()
        )
        if all(tables) and not connection.execute("SELECT 1 FROM alembic_version").fetchone():
            raise Conflict(
                "the database holds an unfinished restore: empty it and the blob store, and "
                "restore again"
            )


def reach(url: str, alembic: str = "head", django: str | None = None) -> None:
    """Apply the migrations up to a step of each tool; by default all."""
    from alembic import command

    from atelier.files.migrate import migrate as migrate_files

    command.upgrade(config(url), alembic)
    migrate_files(url, django)


def knows(alembic: str, django: Sequence[str]) -> bool:
    """Return whether this version has these steps of both tools."""
    revisions = {step[:NUMBER] for step in _steps("migrations", "versions")}
    return alembic in revisions and set(django) <= _steps("files", "migrations")


def is_current(url: str) -> bool:
    """Return whether the database has every step that this version knows.

    By queries: the tools themselves take a second.
    """
    return schema(url) == _known()


def is_ahead(found: Schema) -> bool:
    """Return whether a database has all steps that this version knows, and others.

    A newer version has migrated it, and this one has been put back: migrations leave the version
    before working.
    """
    known = _known()
    revisions = (found.alembic or "", known.alembic or "")
    return found != known and revisions[0] >= revisions[1] and found.django >= known.django


def _known() -> Schema:
    """Return the schema of a database that this version has migrated."""
    newest = max(step[:NUMBER] for step in _steps("migrations", "versions"))
    return Schema(newest, _steps("files", "migrations"))


def schema(url: str) -> Schema:
    """Return the migrations of the database at `url`."""
    with psycopg.connect(url, connect_timeout=CONNECT_SECONDS) as connection:
        ours = _column(connection, "alembic_version", ALEMBIC)
        theirs = _column(connection, "django_migrations", DJANGO)
    return Schema(max(ours, default=None), frozenset(theirs))


def _column(connection: psycopg.Connection[Any], table: str, query: LiteralString) -> list[str]:
    """Return the values of a query; none without its table.

    The table is looked up first, because the server logs an error for a missing one.
    """
    if not connection.execute("SELECT to_regclass(%s)", (table,)).fetchall()[0][0]:
        return []
    return [value for (value,) in connection.execute(query)]


def _steps(*folder: str) -> frozenset[str]:
    names = (entry.name for entry in files("atelier").joinpath(*folder).iterdir())
    return frozenset(name.removesuffix(".py") for name in names if name[:NUMBER].isdigit())


def config(url: str) -> Config:
    """Alembic's configuration, without an ini file."""
    from alembic.config import Config

    made = Config()
    made.set_main_option(
        "script_location", str(files("atelier") / "migrations").replace("%", "%%")
    )
    made.attributes["url"] = url
    return made
