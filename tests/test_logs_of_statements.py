"""Statements that fail: the log says what failed, and never with which values."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from atelier.accounts.routes import router
from atelier.database import Database
from atelier.files import SETTINGS_MODULE, django_setup
from atelier.http.app import create_app
from atelier.settings import Settings
from tests.http.support import in_process, make_resources
from tests.logged import logging_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.logged import Written

    Run = Callable[[str, str, tuple[object, ...]], None]

ADDRESS = "a.value@example.org"
HASH = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$YXJnb24yaGFzaG9mYXBhc3N3b3Jk"
LEAKS = (ADDRESS, "a.value", "argon2id", "YXJnb24yaGFz", "second line")
INSERT = """
    INSERT INTO users (email, email_folded, password_hash, sequence, created_at)
    VALUES (?1, ?2, ?3, 1, now())
"""
FAILING: dict[str, tuple[str, tuple[object, ...], str]] = {
    "unique": (INSERT, (ADDRESS, ADDRESS, HASH), "uq_users_email_folded"),
    "unique on lines": (INSERT, ("x", "second line\nthird line", HASH), "uq_users_email_folded"),
    "not null": (INSERT, (None, ADDRESS, HASH), "email"),
    "a bad value": ("SELECT CAST(CAST(?1 AS text) AS bigint)", (ADDRESS,), "bigint"),
    "a bad date": ("SELECT CAST(CAST(?1 AS text) AS date)", (ADDRESS,), "date"),
    "too large": ("SELECT CAST(CAST(?1 AS text) AS integer)", ("77777777777",), "integer"),
    "bad json": ("SELECT CAST(CAST(?1 AS text) AS json)", (f'{{"a": {ADDRESS}',), "json"),
    "no such column": ("SELECT 1 FROM users WHERE emails = ?1", (ADDRESS,), "emails"),
}

log = logging.getLogger("atelier.test")


async def _with_sqlalchemy(url: str, statement: str, values: tuple[object, ...]) -> None:
    database = Database(url)
    try:
        async with database.session() as session:
            named = {f"p{number}": value for number, value in enumerate(values, 1)}
            await session.execute(text(re.sub(r"\?(\d)", r":p\1", statement)), named)
            await session.commit()
    finally:
        await database.close()


async def _with_asyncpg(url: str, statement: str, values: tuple[object, ...]) -> None:
    database = Database(url)
    try:
        await database.fetch(statement.replace("?", "$"), *values)
    finally:
        await database.close()


def by_sqlalchemy(url: str, statement: str, values: tuple[object, ...]) -> None:
    """As the API's transactions do."""
    asyncio.run(_with_sqlalchemy(url, statement, values))


def by_asyncpg(url: str, statement: str, values: tuple[object, ...]) -> None:
    """As the API's hot reads do."""
    asyncio.run(_with_asyncpg(url, statement, values))


def by_psycopg(url: str, statement: str, values: tuple[object, ...]) -> None:
    """As commands do."""
    with psycopg.connect(url) as connection:
        connection.execute(re.sub(r"\?\d", "%s", statement).encode(), values or None)


def by_django(url: str, statement: str, values: tuple[object, ...]) -> None:
    """As the files slice does."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", SETTINGS_MODULE)
    import django

    django.setup()
    from django.db import connections

    before = connections.settings["default"]
    django_setup.use_database(url)
    try:
        with connections["default"].cursor() as cursor:
            cursor.execute(re.sub(r"\?\d", "%s", statement), values or None)
    finally:
        django_setup.disconnect()
        connections.settings["default"] = before


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Callable[..., Written]]:
    """Set logging up for this test and put back what was there."""
    with logging_to(tmp_path) as make:
        yield make


@pytest.mark.parametrize("failing", FAILING)
@pytest.mark.parametrize("run", [by_sqlalchemy, by_asyncpg, by_psycopg, by_django])
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_values_of_a_failing_statement_never_appear(
    setup: Callable[..., Written], database_url: str, run: Run, failing: str, log_format: str
) -> None:
    """Neither in a traceback nor where the error is part of a message; what failed is said."""
    written = setup(log_format=log_format)
    statement, values, said = FAILING[failing]
    if failing.startswith("unique"):
        by_psycopg(database_url, f"{INSERT} ON CONFLICT DO NOTHING", values)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - each driver has its own
        run(database_url, statement, values)
    log.error("it failed: %s and %r", caught.value, caught.value, exc_info=caught.value)
    log.info("the next line")
    found = written.file
    assert said in found
    assert "the next line" in found
    leaks = (*LEAKS, "77777777777")
    assert [leak for leak in leaks if leak in found or leak in written.console] == []


async def test_an_error_of_a_transaction_holds_no_parameters(database_url: str) -> None:
    """SQLAlchemy would put every one of them into the text of the error."""
    with pytest.raises(DBAPIError, match="division by zero") as caught:
        await _with_sqlalchemy(database_url, "SELECT 1 / length(?1) - 1 / 0", (ADDRESS,))
    assert "SELECT 1 / length($1" in str(caught.value)
    assert ADDRESS not in str(caught.value)


async def test_a_registration_that_fails_leaves_no_address_in_the_log(
    setup: Callable[..., Written], fresh_database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """The API answers 500; its log has the traceback, without the row that PostgreSQL quotes."""
    with psycopg.connect(fresh_database_url) as connection:
        connection.execute("ALTER TABLE users ADD CONSTRAINT closed CHECK (id < 0)")
    written = setup()
    resources = make_resources(Settings(data=tmp_path), fresh_database_url, redis_url)
    body = {"email": ADDRESS, "password": "a quiet workshop"}
    async with in_process(create_app(resources, [router])) as client:
        answer = await client.post("/api/users", json=body)
    await resources.database.close()
    await resources.redis.aclose()
    resources.passwords.close()
    assert answer.status_code == 500
    assert f"unhandled exception, error_id={answer.json()['error_id']}" in written.file
    assert 'violates check constraint "closed"' in written.file
    assert [leak for leak in (*LEAKS, "a quiet workshop") if leak in written.file] == []


def test_an_argon2_hash_never_appears(setup: Callable[..., Written]) -> None:
    """Wherever it stands, with the commas and dollars in it."""
    written = setup()
    log.info("(1, '%s', 7) and hash=%s", HASH, HASH)
    assert written.file.endswith("(1, '$argon2***', 7) and hash=$argon2***\n")


def test_who_waits_for_whom_is_still_said(setup: Callable[..., Written]) -> None:
    """The detail of a deadlock holds numbers of processes, and one needs them."""
    written = setup()
    detail = "Process 7 waits for ShareLock on transaction 8."
    log.error("deadlock detected\nDETAIL:  %s\nHINT:  See the log.", detail)
    assert detail in written.file
    assert "HINT:  See the log." in written.file
