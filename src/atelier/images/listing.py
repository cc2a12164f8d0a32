"""The statements that find pictures of a space: filters and an order, for pages, counts and more.

Each filter has an index in which what it finds stands in the list's order. Ranges are written as
comparisons of rows, which only that index fits, whatever the planner guesses. With several filters
one index is walked and what it finds is looked at. Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import asyncpg

from atelier.database import Database
from atelier.wire.moments import from_microseconds, microseconds
from atelier.wire.searches import containing
from atelier.wire.spaces import MAX_ID


class Date(StrEnum):
    """Which of a picture's dates counts."""

    UPLOADED = "uploaded"
    TAKEN = "taken"  # as its file says; else when it was uploaded


class Sort(StrEnum):
    """In which order pictures are listed, by their date."""

    NEWEST = "newest"
    OLDEST = "oldest"


_MOMENTS = {
    Date.UPLOADED: "received_at",
    Date.TAKEN: "image_taken_at(metadata, received_at)",  # as its index has it
}
RARE = ("queued", "failed")  # statuses
LAST = "last"  # the column that says where a batch ends
MOMENT = "moment"  # the column that holds the date of the order
_FIRST, _LAST = (datetime(year, 1, 1, tzinfo=UTC) for year in (1, 9999))  # no picture is outside


@dataclass(frozen=True, slots=True)
class Filters:
    """Which pictures of a space, by what date, in what order; None and no tags match all."""

    space_id: int
    status: str | None = None
    format: str | None = None
    tags: tuple[str, ...] = ()  # all of them
    q: str | None = None  # in title or description
    date: Date = Date.UPLOADED
    since: datetime | None = None
    until: datetime | None = None
    sort: Sort = Sort.NEWEST

    @property
    def by_id(self) -> bool:
        """Whether the order is that of ids: they grow with uploads, and are cheaper to compare."""
        return self.date is Date.UPLOADED and self.since is None and self.until is None

    @property
    def numbers(self) -> int:
        """How many numbers a position in the list has."""
        return 1 if self.by_id else 2

    @property
    def is_light(self) -> bool:
        """Whether one index finds a page without looking at anything else."""
        others = (self.status is not None) + (self.format is not None) + len(self.tags)
        return self.q is None and others <= (1 if self.by_id else 0)

    def position(self, row: Mapping[str, Any]) -> tuple[int, ...]:
        """Where a row of the list stands."""
        return (row["id"],) if self.by_id else (microseconds(row[MOMENT]), row["id"])


class _Statement:
    """What the filters make of a statement: where to look, on what conditions, in what order."""

    def __init__(self, filters: Filters) -> None:
        self.values: list[Any] = []
        self._filters = filters
        self._space = self._put(filters.space_id)
        self._key = ["images.id"] if filters.by_id else [_MOMENTS[filters.date], "images.id"]
        self._prefix, self._prefixed = ["owner_id"], [self._space]
        self._conditions: list[str] = []
        self._looked_at: list[str] = []  # the conditions that the index does not meet
        self._tagged: list[str] = []  # those of further tags
        self._by_tag = False

    def choose(self, *, ordered: bool) -> None:
        """Choose the index: of pictures that are not ready, which are few; of a tag; of others.

        Without an order the planner chooses, who knows how many there are of each.
        """
        filters, tags = self._filters, self._filters.tags
        equal = [
            (column, value)
            for column, value in (("status", filters.status), ("format", filters.format))
            if value is not None
        ]
        rare = filters.status in RARE
        self._by_tag = filters.by_id and bool(tags) and not rare
        if not ordered and (equal or filters.q is not None):
            self._by_tag = False
        if self._by_tag:
            self._prefix, self._key = ["space_id", "tag"], ["tagged.image_id"]
            self._prefixed.append(self._put(tags[0]))
            tags = tags[1:]
        elif filters.by_id and equal:
            column, value = equal.pop(0)
            self._prefix.append(column)
            self._prefixed.append(self._put(value))
        for column, value in equal:
            self._looked_at.append(f"{column} = {self._put(value)}")
        key = "own.image_id" if self._by_tag else "images.id"
        self._tagged = [
            f"EXISTS (SELECT FROM image_tags AS also WHERE also.owner_id = {self._space} "
            f"AND also.tag = {self._put(tag)} AND also.image_id = {key})"
            for tag in tags
        ]
        if filters.q is not None:
            pattern = self._put(containing(filters.q))
            self._looked_at.append(f"(title ILIKE {pattern} OR description ILIKE {pattern})")

    def anywhere(self) -> None:
        """Add the filters alone, as the planner understands them best: there is no order."""
        if not self._filters.by_id:
            self.between(None)
            return
        pairs = zip(self._prefix, self._prefixed, strict=True)
        self._conditions += [f"{column} = {value}" for column, value in pairs]

    def between(self, position: tuple[int, ...] | None) -> None:
        """Add the range: of the filters, and behind a position.

        By date with other filters the planner chooses, who knows how much these find: that is
        sorted, or looked for along the dates.
        """
        filters = self._filters
        if not filters.by_id and not filters.is_light:
            self._conditions.append(f"owner_id = {self._space}")
            self._prefix, self._prefixed = [], []
        low: tuple[Any, ...] = (0,) if filters.by_id else (filters.since or _FIRST, 0)
        high: tuple[Any, ...] = (MAX_ID,) if filters.by_id else (filters.until or _LAST, 0)
        self._compare(">", low)
        self._compare("<", high)
        if position is not None:
            place = position if filters.by_id else (from_microseconds(position[0]), position[1])
            self._compare("<" if filters.sort is Sort.NEWEST else ">", place)

    def _compare(self, sign: str, place: tuple[Any, ...]) -> None:
        left = ", ".join([*self._prefix, *self._key])
        right = ", ".join([*self._prefixed, *map(self._put, place)])
        self._conditions.append(f"({left}) {sign} ({right})")

    def walk(self, ids: Sequence[int] | None, after: int) -> tuple[str, str]:
        """The condition on which pictures are looked at, and that of the filters."""
        filters, moment = self._filters, _MOMENTS[self._filters.date]
        looked = f"owner_id = {self._space} AND id > {self._put(after)}"
        if ids is not None:
            looked += f" AND id = ANY({self._put(list(ids))}::bigint[])"
        found = [
            f"{column} = {self._put(value)}"
            for column, value in (("status", filters.status), ("format", filters.format))
            if value is not None
        ]
        found += [f"{self._put(tag)} = ANY(tags)" for tag in filters.tags]
        found += [
            f"{moment} {sign} {self._put(value)}"
            for sign, value in ((">=", filters.since), ("<", filters.until))
            if value is not None
        ]
        if filters.q is not None:
            pattern = self._put(containing(filters.q))
            found.append(f"(title ILIKE {pattern} OR description ILIKE {pattern})")
        return looked, " AND ".join(["true", *found])

    @property
    def order(self) -> str:
        """The order of the index, one way or the other."""
        way = "DESC" if self._filters.sort is Sort.NEWEST else "ASC"
        return ", ".join(f"{column} {way}" for column in [*self._prefix, *self._key])

    def found(self, columns: str | None) -> str:
        """The columns of what is found; None: no columns, for what only counts."""
        conditions = [*self._conditions, *self._looked_at]
        if not self._by_tag:
            conditions += self._tagged
            return f"SELECT {columns or ''} FROM images WHERE {' AND '.join(conditions)}"
        also = "".join(f" AND {each}" for each in self._tagged)
        source = (
            "(SELECT owner_id AS space_id, tag, image_id FROM image_tags AS own "
            f"WHERE true{also}) AS tagged"
        )
        if columns is not None or self._looked_at:
            # OFFSET keeps the planner from finding the pictures first and their tags then.
            source += (
                " CROSS JOIN LATERAL (SELECT * FROM images WHERE id = image_id OFFSET 0) AS images"
            )
        return f"SELECT {columns or ''} FROM {source} WHERE {' AND '.join(conditions)}"

    def _put(self, value: Any) -> str:
        """Note a value; its name in the statement."""
        self.values.append(value)
        return f"${len(self.values)}"


def statement(
    filters: Filters, columns: str, limit: int, position: tuple[int, ...] | None = None
) -> tuple[str, list[Any]]:
    """The statement, with its values, that lists pictures behind a position.

    It gives the columns, and `MOMENT` last.
    """
    made = _Statement(filters)
    made.choose(ordered=True)
    made.between(position)
    columns = f"{columns}, {_MOMENTS[filters.date]} AS {MOMENT}"
    query = f"{made.found(columns)} ORDER BY {made.order} LIMIT {int(limit)}"
    return query, made.values


def count(filters: Filters, most: int) -> tuple[str, list[Any]]:
    """The statement, with its values, that counts what filters find, up to a number."""
    made = _Statement(filters)
    made.choose(ordered=False)
    made.anywhere()
    query = f"SELECT count(*) AS found FROM ({made.found(None)} LIMIT {int(most)}) AS counted"
    return query, made.values


def batch(
    filters: Filters, columns: str, ids: Sequence[int] | None, after: int, most: int
) -> tuple[str, list[Any]]:
    """The statement, with its values, that looks at the next pictures in order of their ids.

    It gives the columns of those that the filters find, and `LAST`, where to go on, also when
    none is found; that is null at the end. `ids`: of these alone.
    """
    made = _Statement(filters)
    looked, found = made.walk(ids, after)
    query = f"""
        WITH looked AS MATERIALIZED (
            SELECT * FROM images WHERE {looked} ORDER BY id LIMIT {int(most)}
        )
        SELECT {LAST}, {columns} FROM (SELECT max(id) AS {LAST} FROM looked) AS position
        LEFT JOIN looked AS images ON {found} ORDER BY id
    """
    return query, made.values


async def rows(
    database: Database, person: int, filters: Filters, asked: tuple[str, list[Any]]
) -> list[asyncpg.Record]:
    """What a statement of these filters gives, on behalf of a person.

    Raises TooManyRequests and TooSlow where it may look at more than it gives.
    """
    query, values = asked
    if filters.is_light:
        return await database.fetch(query, *values)
    return await database.search(person, query, *values)
