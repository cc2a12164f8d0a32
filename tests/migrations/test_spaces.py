"""The step to spaces: the release before it goes on making and deleting what it knows."""

from __future__ import annotations

import psycopg
import pytest

from atelier.commands.migrate import reach

BEFORE = "0010", "0003_usage"
# As the release before spaces issues them, with no column that it does not know.
USER = """
    INSERT INTO users (email, email_folded, password_hash, sequence, created_at)
    VALUES (%(name)s, %(name)s, '', 1, now()) RETURNING id
"""
MAKE = {
    "images": """
        INSERT INTO images (owner_id, title, description, tags, blob, format, media_type, width,
            height, size, sha256, metadata, status, error, renditions, version, sequence,
            received_at, updated_at, offered_at)
        VALUES (%(owner)s, 't', '', '{}', %(name)s, 'PNG', 'image/png', 1, 1, 1, '', '{}',
            'queued', NULL, '[]', 1, 1, now(), now(), now())
    """,
    "tasks": """
        INSERT INTO tasks (owner_id, meta, free, blob, format, media_type, size, sha256, sequence,
            created_at)
        VALUES (%(owner)s, 'm', true, %(name)s, 'PNG', 'image/png', 1, '', 1, now())
    """,
    "files": """
        INSERT INTO files (owner_id, file, name, content_type, kind, size, sha256, processed,
            status, version, sequence, attempts, uploaded_at, updated_at, offered_at)
        VALUES (%(owner)s, %(name)s, 'n', 'text/plain', 'text', 1, '', false, 'queued', 1, 1, 0,
            now(), now(), now())
    """,
    "owner_usage": "INSERT INTO owner_usage (owner_id, objects, bytes) VALUES (%(owner)s, 3, 3)",
    "api_keys": """
        INSERT INTO api_keys (name, created_by, space_id, rights, digest, created_at)
        VALUES ('k', %(owner)s, %(owner)s, '{images:read}', %(name)s::bytea, now())
    """,
    "outbox": """
        INSERT INTO outbox (type, subject, sequence, data)
        VALUES ('user.created', 'users/' || %(owner)s, 1, '{}')
    """,
}
LEAVE = (
    "DELETE FROM owner_usage WHERE owner_id = %(owner)s",
    "DELETE FROM images WHERE owner_id = %(owner)s",
    "DELETE FROM tasks WHERE owner_id = %(owner)s",
    "DELETE FROM files WHERE owner_id = %(owner)s",
    "DELETE FROM users WHERE id = %(owner)s",
)
COUNT = "SELECT count(*) FROM {}"
SPACES = """
    SELECT id, user_id, name, created_at = (SELECT created_at FROM users WHERE id = spaces.id)
    FROM spaces ORDER BY id
"""


def make(connection: psycopg.Connection, name: str) -> int:
    """A user with one of everything, as the release before makes them; their id."""
    row = connection.execute(USER, {"name": name}).fetchone()
    assert row
    for statement in MAKE.values():
        connection.execute(statement, {"owner": row[0], "name": name})
    return int(row[0])


def test_the_release_before_goes_on_beside_spaces(empty_database_url: str) -> None:
    """What was there and what it makes later is of its user's space, and leaves with the user."""
    reach(empty_database_url, *BEFORE)
    with psycopg.connect(empty_database_url, autocommit=True) as older:
        early = make(older, "early")
        reach(empty_database_url)
        late = make(older, "late")
        assert older.execute(SPACES).fetchall() == [
            (user, user, None, True) for user in (early, late)
        ]
        for statement in LEAVE:
            for owner in (early, late):
                older.execute(statement, {"owner": owner})
        tables = ("spaces", "members", *MAKE)
        left = {name: older.execute(COUNT.format(name)).fetchone() for name in tables}
    assert left == dict.fromkeys(tables, (0,)) | {"outbox": (2,)}


@pytest.mark.parametrize("table", ["images", "tasks", "files"])
def test_things_have_a_space(fresh_database_url: str, table: str) -> None:
    """Nothing is made in a space that is not there, nor is one deleted under what it holds."""
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        owner = make(connection, "somebody")
        for refused in (
            (MAKE[table], {"owner": owner + 1, "name": "another"}),
            ("DELETE FROM spaces WHERE id = %(owner)s", {"owner": owner}),
        ):
            with pytest.raises(psycopg.errors.ForeignKeyViolation):
                connection.execute(*refused)
