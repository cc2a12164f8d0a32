"""Reads books: by id, through the cache or not, and pages by keyset.

Uses no ORM; knows neither HTTP nor gRPC.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from atelier.books.records import COLUMNS, SELECT_ONE, Tagged, cache_key, decode, encode
from atelier.books.texts import folded
from atelier.cache import Cache
from atelier.database import Database
from atelier.errors import NotFound
from atelier.wire.searches import containing

MAX_ID = 2**63 - 1  # PostgreSQL's largest bigint; ids never come near it


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of a list: texts that title and author must contain, ignoring case.

    An empty text matches everything.
    """

    author: str = ""
    title: str = ""


async def row(database: Database, book_id: int) -> asyncpg.Record:
    """A book's row, read from the database. Raises NotFound."""
    found = await database.by_id(SELECT_ONE, book_id)
    if found is None:
        raise NotFound("There is no such book.")
    return found


async def find(database: Database, cache: Cache, book_id: int, *, seconds: int) -> Tagged:
    """A book's record, from the cache if it is there. Raises NotFound."""

    async def load() -> bytes | None:
        found = await database.by_id(SELECT_ONE, book_id)
        return None if found is None else encode(found)

    value = await cache.get_or_load(cache_key(book_id), load, ttl=seconds)
    if value is None:
        raise NotFound("There is no such book.")
    return decode(value)


async def page(
    database: Database, filters: Filters, *, person: int, before: int | None, limit: int
) -> list[asyncpg.Record]:
    """Up to `limit` rows, newest first, with ids below `before`, for this user.

    Raises TooManyRequests and TooSlow if there are filters.
    """
    values: list[Any] = [MAX_ID if before is None else before, limit]
    contains: list[str] = []
    for column, text in (("author_folded", filters.author), ("title_folded", filters.title)):
        if text:
            condition, value = _contains(column, folded(text))
            values.append(value)
            contains.append(condition.format(f"${len(values)}"))
    if not contains:
        return await database.fetch(_PAGE, *values)
    return await database.search(person, search_statement(contains), *values)


def _contains(column: str, text: str) -> tuple[str, str]:
    """The condition that a column contains a text, and its value."""
    if _TRIGRAM.search(text):
        return f"{column} LIKE {{}}", containing(text)
    # Without a trigram to look for, LIKE would read the whole index, and then the whole table.
    return f"strpos({column}, {{}}) > 0", text


def search_statement(contains: Sequence[str]) -> str:
    """The statement of a page of the books that meet conditions on the folded columns.

    What is frequent is found among the newest books. Only what is rare there is looked for in
    the trigram indexes, which would first have to find all that is frequent.
    """
    conditions = " AND ".join(contains)
    return _SEARCH.format(conditions=conditions)


_TRIGRAM = re.compile(r"[^\W_]{3}")
RECENT = 5_000  # books that are read one by one: some milliseconds
_PAGE = f"SELECT {COLUMNS} FROM books WHERE id < $1 ORDER BY id DESC LIMIT $2"
_SEARCH = f"""
    WITH recent AS MATERIALIZED (
        SELECT {COLUMNS}, title_folded, author_folded FROM books
        WHERE id < $1 ORDER BY id DESC LIMIT {RECENT}
    ), found AS MATERIALIZED (
        SELECT {COLUMNS} FROM recent WHERE {{conditions}} ORDER BY id DESC LIMIT $2
    ), older AS MATERIALIZED (
        SELECT {COLUMNS} FROM books WHERE {{conditions}}
            AND id < (SELECT min(id) FROM recent) AND (SELECT count(*) FROM found) < $2
    )
    SELECT {COLUMNS} FROM found UNION ALL SELECT {COLUMNS} FROM older ORDER BY id DESC LIMIT $2
"""
