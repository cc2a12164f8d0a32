"""Reads books: by id, through the cache or not, and pages by keyset.

Uses no ORM; knows neither HTTP nor gRPC.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import asyncpg

from atelier.books.records import COLUMNS, SELECT_ONE, Tagged, cache_key, decode, encode
from atelier.books.texts import folded
from atelier.cache import Cache
from atelier.database import Database
from atelier.errors import NotFound

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
    database: Database, filters: Filters, *, before: int | None, limit: int
) -> list[asyncpg.Record]:
    """Up to `limit` rows, newest first, with ids below `before`."""
    where: list[str] = ["id < $1"]
    values: list[Any] = [MAX_ID if before is None else before, limit]
    for column, text in (("author_folded", filters.author), ("title_folded", filters.title)):
        if text:
            values.append(folded(text))
            # Not LIKE: its estimate of matches would turn the planner from the index to sorting
            # the table.
            where.append(f"strpos({column}, ${len(values)}) > 0")
    return await database.fetch(_PAGE.format(where=" AND ".join(where)), *values)


_PAGE = f"SELECT {COLUMNS} FROM books WHERE {{where}} ORDER BY id DESC LIMIT $2"
