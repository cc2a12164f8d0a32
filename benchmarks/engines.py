"""Engines of a benchmark's own, with the schema and a user who has signed in."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg

from atelier.auth import Tokens
from atelier.commands.migrate import migrate
from atelier.up.engines import Engine, start_postgres, start_valkey

USER = """
    INSERT INTO users (email, email_folded, password_hash, sequence, created_at)
    VALUES ('a', 'a', '-', 1, now()) RETURNING id
"""
SESSION = "INSERT INTO refresh_families VALUES (%s, %s, '', now(), now() + '1 day')"


class Engines(NamedTuple):
    """Running engines and their folder, which goes with them."""

    folder: Path
    postgres: Engine
    valkey: Engine


@contextmanager
def engines() -> Iterator[Engines]:
    """Start both, with the newest schema; end them without ceremony."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)  # when root measures PostgreSQL is another user
        postgres, valkey = start_postgres(folder / "postgres"), start_valkey(folder / "valkey")
        try:
            migrate(postgres.url)
            yield Engines(folder, postgres, valkey)
        finally:
            postgres.halt()
            valkey.halt()


def signed_in(url: str, secret: str) -> str:
    """The access token of a new user of the database at `url`."""
    session = uuid.uuid4()
    with psycopg.connect(url) as connection:
        (user,) = connection.execute(USER).fetchone() or (0,)
        connection.execute(SESSION, (session, user))
    return Tokens(secret).issue(user, str(session))
