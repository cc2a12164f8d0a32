"""Shared by tests of books: a user without the cost of a password, and a book."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import asyncpg

from atelier.auth import Tokens

if TYPE_CHECKING:
    import httpx2

SECRET = "a secret of the tests, long enough to sign"
WAR = {"title": "Война и мир", "author": "Лев Толстой", "publication_date": "1869-01-01"}
USER = """
    INSERT INTO users (email, email_folded, password_hash, sequence, created_at)
    VALUES ($1, $1, '', 1, now())
    RETURNING id
"""
FAMILY = """
    INSERT INTO refresh_families (id, user_id, token_sha256, created_at, expires_at)
    VALUES ($1, $2, '', now(), now() + interval '1 day')
"""


async def sign_in(database_url: str, access_seconds: int = 900) -> str:
    """The `Authorization` of a new user's session."""
    connection = await asyncpg.connect(database_url)
    family = uuid.uuid4()
    user_id = await connection.fetchval(USER, f"{family}@example.org")
    await connection.execute(FAMILY, family, user_id)
    await connection.close()
    return f"Bearer {Tokens(SECRET, access_seconds=access_seconds).issue(user_id, str(family))}"


async def add(client: httpx2.AsyncClient, **details: Any) -> dict[str, Any]:
    """Add a book, by default Tolstoy's; its record."""
    answer = await client.post("/api/books", json=WAR | details)
    assert answer.status_code == 201, answer.text
    record: dict[str, Any] = answer.json()
    return record
