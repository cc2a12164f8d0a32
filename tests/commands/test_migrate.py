"""Migrating reaches the newest schema, again changes nothing, and is current only when done."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from atelier.commands.migrate import is_current, main, migrate, reach
from atelier.errors import Conflict
from atelier.settings import Settings
from atelier.up.engines import start_postgres

SOURCE = Path(__file__).parents[2] / "src" / "atelier"


def steps(folder: str) -> list[str]:
    """The numbers of the migrations in a folder of the package, oldest first."""
    return sorted(path.name[:4] for path in (SOURCE / folder).glob("[0-9]*.py"))


def counted(found: list[str]) -> str:
    """How many there are, in words."""
    return f"{len(found)} migration" if len(found) == 1 else f"{len(found)} migrations"


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


def test_the_command_says_what_it_did(
    empty_database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From which step to which, and how many, for each tool; later, that nothing was to do."""
    settings = Settings(data=tmp_path, database_url=SecretStr(empty_database_url))
    ours, theirs = steps("migrations/versions"), steps("files/migrations")
    assert main(settings) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"database: empty -> {ours[-1]} ({counted(ours)})",
        f"files: empty -> {theirs[-1]} ({counted(theirs)})",
    ]
    assert main(settings) == 0
    said = f"database: nothing to do, it is at {ours[-1]}, files at {theirs[-1]}\n"
    assert capsys.readouterr().out == said


def test_the_command_says_from_where_it_went_on(
    empty_database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a tool that had nothing to do nothing is said."""
    *_, last, newest = steps("migrations/versions")
    reach(empty_database_url, alembic=last)
    assert main(Settings(data=tmp_path, database_url=SecretStr(empty_database_url))) == 0
    assert capsys.readouterr().out == f"database: {last} -> {newest} (1 migration)\n"


def test_the_server_logs_no_error(tmp_path: Path) -> None:
    """A database without tables is nothing that the server would have to complain of."""
    tmp_path.chmod(0o755)
    engine = start_postgres(tmp_path / "postgres", durable=False)
    try:
        settings = Settings(data=tmp_path, database_url=SecretStr(engine.url))
        assert main(settings) == main(settings) == 0
        log = engine.log.read_text()
    finally:
        engine.stop()
    assert "ready to accept connections" in log
    assert [line for line in log.splitlines() if "ERROR" in line or "FATAL" in line] == []


def test_a_database_that_cannot_hold_every_text_is_refused(postgres_url: str) -> None:
    """One made without UTF-8 is refused in words before anything is written."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "CREATE DATABASE without_utf8 ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"
        )
        url = postgres_url.replace("/atelier?", "/without_utf8?")
        with pytest.raises(Conflict, match="stores text as SQL_ASCII"):
            migrate(url)
        with psycopg.connect(url) as there:
            assert there.execute(
                "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
            ).fetchone() == (0,)
        connection.execute("DROP DATABASE without_utf8")
