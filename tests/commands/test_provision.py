"""`atelier provision`: two database roles on a server that is not embedded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from pydantic import SecretStr

from atelier.commands import migrate, provision
from atelier.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = 'it\'s "a" %20 word'


def settings(admin_url: str, folder: Path) -> Settings:
    """The three URLs of one database."""
    from urllib.parse import quote

    password, rest = quote(PASSWORD, safe=""), admin_url.partition("@")[2]
    return Settings(
        data=folder,
        admin_url=SecretStr(admin_url),
        migration_url=SecretStr(f"postgresql://keeper:{password}@{rest}"),
        database_url=SecretStr(f"postgresql://user-of-rows:{password}@{rest}"),
    )


def url(settings: Settings, name: str) -> str:
    """One of the URLs."""
    return getattr(settings, name).get_secret_value()  # type: ignore[no-any-return]


def execute(url: str, query: str) -> list[tuple[object, ...]]:
    """The rows of a statement."""
    with psycopg.connect(url) as connection:
        cursor = connection.execute(query)
        return cursor.fetchall() if cursor.description else []


def test_a_database_with_one_role_for_everything_gets_two(
    admin_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its tables change hands; the new role of rows can use them and change none, twice over."""
    migrate.migrate(admin_url)
    asked = settings(admin_url, tmp_path)
    for _ in range(2):
        assert provision.main(asked) == 0
        assert migrate.main(asked) == 0
    assert "keeper owns the tables, user-of-rows may use them" in capsys.readouterr().out
    owners = execute(
        admin_url, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    )
    assert owners == [("keeper",)]
    client = url(asked, "database_url")
    assert execute(client, "SELECT count(*) FROM users") == [(0,)]
    execute(client, "DELETE FROM users")
    for statement in (
        "ALTER TABLE users ADD COLUMN more int",
        "TRUNCATE users",
        "CREATE TABLE mine (id int)",
        "DELETE FROM alembic_version",
        "DELETE FROM django_migrations",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            execute(client, statement)


def test_tables_of_the_next_migration_can_be_used_at_once(admin_url: str, tmp_path: Path) -> None:
    """What the owner makes later needs no grant of its own."""
    asked = settings(admin_url, tmp_path)
    provision.main(asked)
    migrate.main(asked)
    execute(
        url(asked, "migration_url"), "CREATE TABLE later (id int GENERATED ALWAYS AS IDENTITY)"
    )
    execute(url(asked, "database_url"), "INSERT INTO later DEFAULT VALUES")
    assert execute(url(asked, "database_url"), "SELECT id FROM later") == [(1,)]


@pytest.mark.parametrize("missing", ["admin_url", "migration_url", "database_url"])
def test_every_url_is_needed(admin_url: str, tmp_path: Path, missing: str) -> None:
    """The one that is not set is named."""
    asked = settings(admin_url, tmp_path).model_copy(update={missing: None})
    with pytest.raises(provision.NotTwoRoles, match=f"set {missing}"):
        provision.main(asked)


def test_a_superuser_is_no_role_for_rows(admin_url: str, tmp_path: Path) -> None:
    """Three roles are three; nothing is changed when they are not."""
    same = admin_url.replace("atelier@", "atelier:word@")
    asked = settings(admin_url, tmp_path).model_copy(update={"database_url": SecretStr(same)})
    with pytest.raises(provision.NotTwoRoles, match="atelier is a superuser"):
        provision.main(asked)
    assert execute(admin_url, "SELECT FROM pg_roles WHERE rolname = 'keeper'") == []
