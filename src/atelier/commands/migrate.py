"""Bring the database to the newest schema; safe to run twice, or from several machines at once."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import psycopg

from atelier import bootstrap
from atelier.errors import Conflict
from atelier.startup.reachability import postgres_version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alembic.config import Config

    from atelier.settings import Settings

CONNECT_SECONDS = 10
ENCODING = "UTF8"


def main(settings: Settings) -> int:
    """Migrate the database of `settings`; the exit code. Raises Unavailable when it does not answer."""
    url = bootstrap.database_url(settings)
    postgres_version(settings, url)
    migrate(url)
    return 0


def migrate(url: str) -> None:
    """Apply every migration that the database at `url` lacks."""
    if not is_current(url):
        _refuse_unfit(url)
        reach(url)


def _refuse_unfit(url: str) -> None:
    """Raise Conflict for a database that cannot hold every text, or holds half a restore: tables and no revision."""
    with psycopg.connect(url, connect_timeout=CONNECT_SECONDS) as connection:
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != ENCODING:
            raise Conflict(f"the database stores text as {encoding}: make it anew with ENCODING '{ENCODING}'")
        tables = connection.execute("SELECT to_regclass('alembic_version'), to_regclass('users')").fetchone() or ()
        if all(tables) and not connection.execute("SELECT 1 FROM alembic_version").fetchone():
            raise Conflict("the database holds an unfinished restore: empty it and the blob store, and restore again")


def reach(url: str, alembic: str = "head", django: str | None = None) -> None:
    """Apply the migrations up to a step of each tool; by default all."""
    from alembic import command  # noqa: PLC0415 - most starts find nothing to do, and need not load it

    from atelier.files.migrate import migrate as migrate_files  # noqa: PLC0415 - the same for Django

    command.upgrade(config(url), alembic)
    migrate_files(url, django)


def knows(alembic: str, django: Sequence[str]) -> bool:
    """Whether this version has these steps of both tools."""
    revisions = {step[:4] for step in _steps("migrations", "versions")}
    return alembic in revisions and set(django) <= _steps("files", "migrations")


def is_current(url: str) -> bool:
    """Whether the database has every step that this version knows: two look-ups, where the tools take a second."""
    newest = max(step[:4] for step in _steps("migrations", "versions"))
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_SECONDS) as connection:
            ours = connection.execute("SELECT version_num FROM alembic_version").fetchall()
            theirs = connection.execute("SELECT name FROM django_migrations WHERE app = 'files'").fetchall()
    except psycopg.errors.UndefinedTable:
        return False
    return ours == [(newest,)] and {name for (name,) in theirs} == _steps("files", "migrations")


def _steps(*folder: str) -> set[str]:
    names = (entry.name for entry in files("atelier").joinpath(*folder).iterdir())
    return {name.removesuffix(".py") for name in names if name[:4].isdigit()}


def config(url: str) -> Config:
    """Alembic's configuration without an ini file."""
    from alembic.config import Config  # noqa: PLC0415 - as above

    made = Config()
    made.set_main_option("script_location", str(files("atelier") / "migrations").replace("%", "%%"))
    made.attributes["url"] = url
    return made
