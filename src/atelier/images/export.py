"""Reads all pictures that filters find, in batches and in order of id; writes them as lines.

No connection is held between batches, so a slow reader costs none; each batch is what is true at
its moment, and bounded by what it looks at. Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from enum import StrEnum
from typing import Any, Protocol

import asyncpg

from atelier.database import Database
from atelier.errors import NotFound
from atelier.http.csv_lines import BETWEEN, BOM, MEDIA_TYPE, defused, lines, times
from atelier.http.encoding import dumps
from atelier.images.listing import LAST, Filters, batch
from atelier.images.records import COLUMNS, MISSING, record

BATCH = 1_000  # pictures looked at by one statement: records of some megabytes
HEADER = (
    *("id", "space_id", "created_by", "title", "description", "tags", "uploaded_at", "taken_at"),
    *("format", "width", "height", "size", "sha256", "status"),
)
_SEEN = "SELECT count(*) AS number FROM images WHERE owner_id = $1 AND id = ANY($2::bigint[])"
# When it was taken as the file says it, which may have no zone.
_COLUMNS = f"{COLUMNS}, metadata #>> '{{exif,taken_at}}' AS taken_at"


class Format(StrEnum):
    """What an export is written as."""

    CSV = "csv"
    JSONL = "jsonl"
    ZIP = "zip"


class Writer(Protocol):
    """Writes pictures in some form."""

    media_type: str
    head: bytes

    def lines(self, rows: Sequence[Any]) -> bytes:
        """One line for each picture; texts may go over several."""


class JsonLines:
    """The record of each picture on a line of its own."""

    media_type = "application/jsonl"
    head = b""

    def lines(self, rows: Sequence[Any]) -> bytes:
        """Return the records."""
        return b"".join([dumps(record(row)) + b"\n" for row in rows])


class Csv:
    """CSV with a header; `more` are columns that the caller adds to each row."""

    media_type = MEDIA_TYPE

    def __init__(self, *more: str, bom: bool = False) -> None:
        self.head = (BOM if bom else "").encode() + lines([[*HEADER, *more]])

    def lines(self, rows: Sequence[Any], *more: Sequence[object]) -> bytes:
        """Return the rows."""
        uploaded = times([[row["received_at"]] for row in rows])
        return lines(
            [
                [*_cells(row, moment), *others]
                for row, [moment], *others in zip(rows, uploaded, *more, strict=True)
            ]
        )


def _cells(row: Any, uploaded: str | None) -> list[object]:
    return [
        *(row["id"], row["owner_id"], row["created_by"]),
        *(defused(row["title"]), defused(row["description"])),
        defused(BETWEEN.join(row["tags"])),
        *(uploaded, defused(row["taken_at"] or ""), row["format"]),
        *(row["width"], row["height"], row["size"], row["sha256"], row["status"]),
    ]


async def require_all(database: Database, space_id: int, ids: Sequence[int]) -> None:
    """Raise NotFound if one of these is no picture of the space."""
    found = await database.fetchrow(_SEEN, space_id, ids)
    if found is None or found["number"] < len(ids):
        raise NotFound(MISSING)


async def batches(
    database: Database, filters: Filters, ids: Sequence[int] | None = None
) -> AsyncGenerator[Sequence[asyncpg.Record], None]:
    """The pictures in batches, which may be empty. `ids`: of these alone."""
    after = 0
    while True:
        query, values = batch(filters, _COLUMNS, ids, after, BATCH)
        rows = await database.fetch(query, *values)
        if rows[0][LAST] is None:
            return
        after = rows[0][LAST]
        yield rows if rows[0]["id"] is not None else ()
