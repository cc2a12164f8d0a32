"""The index of a library: its pictures in columns, by which a client lays out all of them at once.

It is read in batches, each its own look, and grows by some bytes for each picture. Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import orjson

from atelier.database import Database
from atelier.images.listing import MOMENT, Filters, statement
from atelier.images.records import VERSION

BATCH = 10_000  # pictures of one statement: some tens of milliseconds
MOST = 100_000  # of one answer
GRID_PIXELS = 200  # of the side of a tile, at least
NONE = "-" * VERSION  # in its place: there is no such rendition
# One row a batch: made into columns here, they cost half of what their rows do. A key is
# `images/3fa/9c...e1-500x500.jpg`, of which the digest begins after the second slash.
_BATCH = f"""
    SELECT array_agg(id) AS ids, array_agg(width) AS widths, array_agg(height) AS heights,
        string_agg(letter, '') AS statuses,
        string_agg(coalesce(left(split_part(blob, '/', 3), {VERSION}), '{NONE}'), '') AS versions,
        array_agg(to_char({MOMENT} AT TIME ZONE 'UTC', 'YYYY-MM')) AS months,
        (array_agg({MOMENT}))[count(*)] AS {MOMENT}
    FROM ({{page}}) AS page
"""
_COLUMNS = """
    id, width, height, left(status, 1) AS letter,
    jsonb_path_query_first(renditions, '$[*] ? (@.name == "{name}")') ->> 'blob' AS blob
"""


def grid(sizes: Sequence[str]) -> str:
    """The rendition for the tiles of a grid: the smallest that fills one, else the largest."""
    by_side = sorted(sizes, key=lambda size: min(map(int, size.split("x"))))
    large = (size for size in by_side if min(map(int, size.split("x"))) >= GRID_PIXELS)
    return next(large, by_side[-1] if by_side else "original")


@dataclass(slots=True)
class Columns:
    """The index so far: columns as JSON without their brackets, which takes little memory."""

    rendition: str
    count: int = 0
    ids: list[bytes] = field(default_factory=list)
    widths: list[bytes] = field(default_factory=list)
    heights: list[bytes] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    months: list[tuple[str, int]] = field(default_factory=list)
    last: int = 0

    def add(self, row: Any) -> None:
        """Add a batch."""
        ids = row["ids"]
        steps = [each - before for before, each in zip([self.last, *ids], ids, strict=False)]
        self.count, self.last = self.count + len(ids), ids[-1]
        self.ids.append(orjson.dumps(steps)[1:-1])
        self.widths.append(orjson.dumps(row["widths"])[1:-1])
        self.heights.append(orjson.dumps(row["heights"])[1:-1])
        self.statuses.append(row["statuses"])
        self.versions.append(row["versions"])
        for month, group in groupby(row["months"]):
            number = sum(1 for _ in group)
            if self.months and self.months[-1][0] == month:
                number += self.months.pop()[1]
            self.months.append((month, number))

    def json(self) -> bytes:
        """The whole as JSON."""
        return orjson.dumps(
            {
                "count": self.count,
                "rendition": self.rendition,
                "ids": _array(self.ids),
                "widths": _array(self.widths),
                "heights": _array(self.heights),
                "statuses": "".join(self.statuses),
                "versions": "".join(self.versions),
                "months": self.months,
            }
        )


async def read(
    database: Database,
    *,
    user_id: int,
    filters: Filters,
    rendition: str,
    position: tuple[int, ...] | None,
    limit: int,
) -> tuple[Columns, tuple[int, ...] | None]:
    """Up to `limit` pictures behind a position, and where the rest begins if there is one.

    `rendition` is of letters and digits. Raises TooManyRequests and TooSlow, as searches do.
    """
    found = Columns(rendition)
    columns = _COLUMNS.format(name=rendition)
    while found.count < limit:
        wanted = min(BATCH, limit - found.count)
        page, values = statement(filters, columns, wanted, position)
        [row] = await database.search(user_id, _BATCH.format(page=page), *values)
        if row["ids"] is None:
            return found, None
        found.add(row)
        position = filters.position({"id": found.last, MOMENT: row[MOMENT]})
        if len(row["ids"]) < wanted:
            return found, None
    return found, position


def _array(parts: Sequence[bytes]) -> orjson.Fragment:
    return orjson.Fragment(b"[" + b",".join(parts) + b"]")
