"""The use cases of the catalogue: add, change, remove. One use case, one transaction.

Knows no HTTP; dependencies are arguments. Texts come normalised and validated.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.books import dates, events
from atelier.books.models import Book
from atelier.books.records import cache_key
from atelier.books.texts import folded
from atelier.cache import Cache
from atelier.database import Database
from atelier.errors import NotFound, PreconditionFailed
from atelier.events import outbox
from atelier.observe import requester, tracing

Expected = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Details:
    """The details of a book; its date as `dates.parse` takes it."""

    title: str
    author: str
    publication_date: str


# One statement and so one round trip: through the ORM it costs four times as much.
_CREATE = f"""
    WITH book AS (
        INSERT INTO books (title, author, publication_date, publication_precision, title_folded,
            author_folded, sequence)
        VALUES ($1, $2, $3, $4, $5, $6, 1) RETURNING id
    ), announced AS (
        {outbox.INSERT_TRACED}
        SELECT '{events.CREATED}', '{events.SUBJECTS}' || id, 1,
            $7::jsonb || jsonb_build_object('id', id), NULL, $8, $9
        FROM book
    )
    SELECT id FROM book
"""


async def create(database: Database, details: Details) -> int:
    """Add a book and its event; returns the id."""
    row = await database.fetchrow(_CREATE, *_values(details))
    assert row is not None  # noqa: S101 - an INSERT that does not raise returns its row
    return int(row["id"])


async def create_once(
    database: Database,
    details: Details,
    before_commit: Callable[[AsyncSession, int], Awaitable[None]],
) -> int:
    """`create` in a transaction in which the caller writes too."""
    async with database.session() as session:
        connection = await session.connection()
        book_id = int((await connection.exec_driver_sql(_CREATE, _values(details))).scalar_one())
        await before_commit(session, book_id)
        await session.commit()
    return book_id


def _values(details: Details) -> tuple[Any, ...]:
    data = orjson.dumps(
        events.state(details.title, details.author, details.publication_date)
    ).decode()
    texts = details.title, details.author
    cause = requester.actor(), tracing.traceparent()
    return *texts, *dates.parse(details.publication_date), *map(folded, texts), data, *cause


async def change(
    database: Database,
    cache: Cache,
    book_id: int,
    *,
    expected: Expected,
    title: str | None = None,
    author: str | None = None,
    publication_date: str | None = None,
) -> Book:
    """Change the given fields and add an event; returns the book.

    No event is added if nothing changes. `expected` judges the present entity tag (If-Match);
    False raises PreconditionFailed.
    """
    changes: dict[str, Any] = {"title": title, "author": author}
    if publication_date is not None:
        first, precision = dates.parse(publication_date)
        changes |= {"publication_date": first, "publication_precision": precision}
    async with database.session() as session:
        book = await _locked(session, book_id, expected)
        changed = {
            name: value
            for name, value in changes.items()
            if value not in (None, getattr(book, name))
        }
        if not changed:
            return book
        for name, value in changed.items():
            setattr(book, name, value)
        book.title_folded, book.author_folded = folded(book.title), folded(book.author)
        book.sequence += 1
        _announce(session, events.UPDATED, book, book.sequence)
        await session.flush()
        await cache.fence([cache_key(book_id)])
        await session.commit()
    await cache.drop([cache_key(book_id)])
    return book


async def delete(database: Database, cache: Cache, book_id: int, *, expected: Expected) -> None:
    """Remove a book and add its event. `expected` as for `change`."""
    async with database.session() as session:
        book = await _locked(session, book_id, expected)
        _announce(session, events.DELETED, book, book.sequence + 1)
        await session.delete(book)
        await session.flush()
        await cache.fence([cache_key(book_id)])
        await session.commit()
    await cache.drop([cache_key(book_id)])


async def _locked(session: AsyncSession, book_id: int, expected: Expected) -> Book:
    book = await session.scalar(select(Book).where(Book.id == book_id).with_for_update())
    if book is None:
        raise NotFound("There is no such book.")
    if not expected(str(book.sequence)):
        raise PreconditionFailed("The book has changed since this entity tag.")
    return book


def _announce(session: AsyncSession, event_type: str, book: Book, sequence: int) -> None:
    published = dates.shown(book.publication_date, book.publication_precision)
    data = events.state(book.title, book.author, published) | {"id": book.id}
    outbox.record(session, event_type, f"{events.SUBJECTS}{book.id}", sequence, data)
