"""`atelier provision`: makes the database's two roles, as a superuser of it.

The role of `migration_url` comes to own the database and its tables; that of `database_url` gets
the right to read and write rows by `atelier migrate`. Again as often as wanted.
"""

from __future__ import annotations

import sys
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from atelier.errors import AtelierError
from atelier.settings import Settings
from atelier.startup.reachability import postgres_version
from atelier.up.engines import access

CONNECT_SECONDS = 10
URLS = ("admin_url", "migration_url", "database_url")


class NotTwoRoles(AtelierError):
    """The settings do not name two roles of one database."""

    slug = "provision"


def main(settings: Settings) -> int:
    """Make both roles and hand the tables over; return the exit code.

    Raises NotTwoRoles, and Unavailable when the database does not answer.
    """
    urls = [getattr(settings, name) for name in URLS]
    if missing := [name for name, url in zip(URLS, urls, strict=True) if url is None]:
        raise NotTwoRoles(f"set {' and '.join(missing)}: it takes {', '.join(URLS)}")
    admin, owner_url, client_url = (_text(url) for url in urls)
    postgres_version(settings, admin, setting="admin_url")
    with psycopg.connect(admin, connect_timeout=CONNECT_SECONDS) as connection:
        owner = _member(connection, "migration_url", owner_url)
        client = _member(connection, "database_url", client_url)
        if len({connection.info.user, owner.name, client.name}) < len(URLS):
            raise NotTwoRoles(f"{', '.join(URLS)} should name three different roles")
        [(schema,)] = connection.execute("SELECT current_schema()").fetchall()
        for statement in access.statements(owner, client, connection.info.dbname, schema):
            connection.execute(statement.encode())
    sys.stdout.write(f"{owner.name} owns the tables, {client.name} may use them\n")
    return 0


def _text(url: SecretStr) -> str:
    return url.get_secret_value()


def _member(connection: psycopg.Connection[Any], setting: str, url: str) -> access.Member:
    """The role of a URL. Raises NotTwoRoles for one that is not the superuser's database."""
    parts = conninfo_to_dict(url)
    name, password = str(parts.get("user") or ""), str(parts.get("password") or "")
    if not name or not password:
        raise NotTwoRoles(f"{setting} should have a user and a password")
    if parts.get("dbname") != connection.info.dbname:
        raise NotTwoRoles(f"{setting} should name the database of admin_url")
    powers = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", (name,))
    if (found := powers.fetchone()) and found[0]:
        raise NotTwoRoles(f"{setting}: {name} is a superuser: choose another name")
    hashed = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
    return access.Member(name, hashed.decode())
