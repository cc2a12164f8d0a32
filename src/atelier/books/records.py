"""The JSON record of a book, and the form in which the cache keeps it with its entity tag."""

from __future__ import annotations

from typing import Any, NamedTuple

import asyncpg
import orjson

from atelier.books.dates import shown

COLUMNS = "id, title, author, publication_date, publication_precision, sequence"
SELECT_ONE = f"SELECT {COLUMNS} FROM books WHERE id = any($1::bigint[])"


class Tagged(NamedTuple):
    """A record as ready JSON, and its strong entity tag without quotes."""

    etag: str
    record: bytes


def cache_key(book_id: int) -> str:
    """The cache key of a book."""
    return f"book:{book_id}"


def record(row: asyncpg.Record) -> dict[str, Any]:
    """The JSON record of the contract; `row` holds `COLUMNS`."""
    return {
        "id": row["id"],
        "title": row["title"],
        "author": row["author"],
        "publication_date": published(row),
    }


def published(row: asyncpg.Record) -> str:
    """The date of publication as it was given."""
    return shown(row["publication_date"], row["publication_precision"])


def encode(row: asyncpg.Record) -> bytes:
    """The tag, a newline, the record."""
    return b"%d\n%b" % (row["sequence"], orjson.dumps(record(row)))


def decode(value: bytes) -> Tagged:
    """Decode the value that `encode` made."""
    etag, _, body = value.partition(b"\n")
    return Tagged(etag.decode(), body)
