"""Searches for books: found by an index, never more than some at once, and never for long."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
import grpc
import psycopg
import pytest
from sqlalchemy import make_url

from atelier.books import queries
from atelier.books.queries import Filters, page, search_statement
from atelier.commands.migrate import is_current, migrate
from atelier.database import Database
from atelier.errors import TooManyRequests
from atelier.wire.searches import SEARCHES_OF_PERSON, TooSlow
from tests.books.support import sign_in
from tests.rpc.support import Books, channel_to, refused, serving
from tests.waiting import eventually, patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from atelier.settings import Settings

FILL = """
    INSERT INTO books (title, author, title_folded, author_folded, publication_date, sequence)
    SELECT t, a, lower(t), lower(a), '2000-01-01', 1 FROM (
        SELECT 'Volume ' || md5(n::text) || CASE WHEN n = 7 THEN ' 100% Needle_x' ELSE '' END AS t,
            'Author ' || md5((n % 1000)::text) AS a
        FROM generate_series(1, $1::int) AS n
    ) AS made
"""
TRIGRAMS = ("ix_books_title_trigrams", "ix_books_author_trigrams")
LIKE = "ix_books_%_trigrams"
INDEXES = """
    SELECT count(*) FROM pg_index WHERE indexrelid::regclass::text LIKE 'ix_books_%_trigrams'
    AND indisvalid
"""


@pytest.fixture
async def database(fresh_database_url: str) -> AsyncIterator[Database]:
    """A database of this test alone."""
    made = Database(fresh_database_url, connections=2)
    yield made
    await made.close()


async def titles(database: Database, limit: int = 50, **filters: str) -> list[str]:
    """The titles of a page."""
    rows = await page(database, Filters(**filters), person=1, before=None, limit=limit)
    return [row["title"] for row in rows]


async def test_no_search_reads_the_whole_table(database: Database) -> None:
    """Among 100,000 books, by title, author or both; what is found is the same as without."""
    created = await database.fetch("SELECT indexdef FROM pg_indexes WHERE indexname LIKE $1", LIKE)
    connection = await asyncpg.connect(database.url)  # without a timeout
    await connection.execute(f"DROP INDEX {', '.join(TRIGRAMS)}")  # slow to fill row by row
    await connection.execute(FILL.replace("$1", "100000"))
    for (statement,) in created:
        await connection.execute(statement)
    await connection.execute("VACUUM ANALYZE books")
    await connection.close()
    for columns in (("title_folded",), ("author_folded",), ("title_folded", "author_folded")):
        contains = [f"{column} LIKE ${number}" for number, column in enumerate(columns, 3)]
        texts = ["%needle%" if column == "title_folded" else "%e1696%" for column in columns]
        plan = await database.fetch(
            f"EXPLAIN {search_statement(contains)}", queries.MAX_ID, 51, *texts
        )
        lines = "\n".join(line for (line,) in plan)
        assert "Seq Scan" not in lines, lines
        assert "_trigrams" in lines, lines
    short = search_statement([queries._contains("title_folded", "zz")[0].format("$3")])
    plan = await database.fetch(f"EXPLAIN {short}", queries.MAX_ID, 51, "zz")
    assert "_trigrams" not in "".join(line for (line,) in plan)
    assert await titles(database, title="x_") == await titles(database, title="zz") == []
    for text in ("needle", "100% NEEDLE_X", "% needle_", "_x", "%"):
        assert [title[-14:] for title in await titles(database, title=text)] == [" 100% Needle_x"]
    assert (
        await titles(database, title="needle%x") == await titles(database, title="needle-x") == []
    )


async def test_frequent_and_rare_texts_page_alike(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newest first without a gap or a repeat, wherever the newest books end."""
    monkeypatch.setattr(queries, "_SEARCH", queries._SEARCH.replace("LIMIT 5000", "LIMIT 20"))
    await database.fetch(FILL, 300)
    everything = [
        row["id"] for row in await database.fetch("SELECT id FROM books ORDER BY id DESC")
    ]
    for size in (1, 7, 50):
        found: list[int] = []
        before = None
        while True:
            rows = await page(database, Filters(title="vol"), person=1, before=before, limit=size)
            if not rows:
                break
            found += [row["id"] for row in rows]
            before = found[-1]
        assert found == everything


@asynccontextmanager
async def locked(database: Database) -> AsyncIterator[None]:
    """Nobody reads books meanwhile."""
    connection = await asyncpg.connect(database.url)
    async with connection.transaction():
        await connection.execute("LOCK TABLE books")
        yield
    await connection.close()


async def test_searches_hold_neither_other_reads_nor_other_people(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One person has some at once; they end after a time, and other reads go on."""
    monkeypatch.setattr("atelier.database.SEARCH_TIMEOUT_MS", 300)
    async with locked(database):
        searches = [
            asyncio.create_task(titles(database, title="needle"))
            for _ in range(SEARCHES_OF_PERSON)
        ]
        await eventually(lambda: database._searching._taken == SEARCHES_OF_PERSON)
        with pytest.raises(TooManyRequests, match="2 searches"):
            await titles(database, author="needle")
        await database.ping()
        async with patience():
            for search in searches:
                with pytest.raises(TooSlow, match="longer or a rarer"):
                    await search
            with pytest.raises(TooSlow):
                await page(database, Filters(title="x"), person=2, before=None, limit=1)
    assert await titles(database, title="needle") == []


async def test_a_slow_search_is_told_so_at_every_edge(
    ada: httpx2.AsyncClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 `search-too-slow` over HTTP, UNAVAILABLE over gRPC, for pictures' `q`, too."""
    monkeypatch.setattr("atelier.database.SEARCH_TIMEOUT_MS", 1)
    url = settings.database_url.get_secret_value() if settings.database_url else ""
    connection = await asyncpg.connect(url)
    async with connection.transaction(), serving(settings) as port, channel_to(port) as channel:
        await connection.execute("LOCK TABLE books, images")
        for path in ("/api/books?title=abc", "/api/books?author=abc", "/api/images?q=abc"):
            answer = await ada.get(path)
            assert answer.status_code == 503, answer.text
            assert answer.json()["type"] == "/problems/search-too-slow"
            assert int(answer.headers["retry-after"]) > 0
        books = Books(channel, await sign_in(url))
        with refused(grpc.StatusCode.UNAVAILABLE):
            await books.page(title="abc", page_token="")
    await connection.close()


def as_role(url: str, name: str) -> str:
    """The URL for another role."""
    parts = make_url(url).set(username=name)
    return parts.render_as_string(hide_password=False)


def test_without_the_right_to_the_extension_the_migration_goes_on(
    admin_url: str,
) -> None:
    """There is no index then, and the schema is current."""
    name = "plain"
    with psycopg.connect(admin_url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {name} LOGIN")
        owner.execute(f"GRANT ALL ON SCHEMA public TO {name}")
    try:
        migrate(as_role(admin_url, name))
        assert is_current(admin_url)
        with psycopg.connect(admin_url) as connection:
            assert connection.execute(INDEXES).fetchone() == (0,)
    finally:
        with psycopg.connect(admin_url, autocommit=True) as owner:
            owner.execute(f"DROP OWNED BY {name}")
            owner.execute(f"DROP ROLE {name}")


async def test_the_indexes_are_there_where_the_extension_is(database: Database) -> None:
    """Both are valid in a new database."""
    assert (await database.fetchrow(INDEXES) or [0])[0] == 2
