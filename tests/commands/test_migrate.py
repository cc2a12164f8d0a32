"""Migrating: from nothing to the newest schema, nothing the second time, and not believed to be done when it is not."""

from __future__ import annotations

import psycopg
import pytest

from atelier.commands.migrate import is_current, migrate
from atelier.errors import Conflict


def test_an_empty_database_is_migrated_once(empty_database_url: str) -> None:
    """Nothing is current at first; afterwards it is, and a second run leaves it so."""
    assert not is_current(empty_database_url)
    migrate(empty_database_url)
    assert is_current(empty_database_url)
    migrate(empty_database_url)
    assert is_current(empty_database_url)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE alembic_version SET version_num = '0001'",
        "DELETE FROM alembic_version",
        "DELETE FROM django_migrations WHERE app = 'files'",
        "DROP TABLE django_migrations",
    ],
)
def test_an_older_database_is_not_current(fresh_database_url: str, change: str) -> None:
    """A database that lacks a step of either tool is to be migrated."""
    assert is_current(fresh_database_url)
    with psycopg.connect(fresh_database_url) as connection:
        connection.execute(change)
    assert not is_current(fresh_database_url)


def test_a_database_that_cannot_hold_every_text_is_refused(postgres_url: str) -> None:
    """One made without UTF-8 is refused in words before anything is written."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE without_utf8 ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
        url = postgres_url.replace("/atelier?", "/without_utf8?")
        with pytest.raises(Conflict, match="stores text as SQL_ASCII"):
            migrate(url)
        with psycopg.connect(url) as there:
            assert there.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
        connection.execute("DROP DATABASE without_utf8")
