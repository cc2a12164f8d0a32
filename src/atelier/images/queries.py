"""Reads pictures: by id through the cache, and lists by keyset.

Uses no ORM; rows leave as ready bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from atelier.auth import Principal, Right, require
from atelier.cache import Cache
from atelier.database import Database
from atelier.errors import NotFound
from atelier.images.records import (
    COLUMNS,
    MISSING,
    SELECT_ONE,
    Cached,
    cache_key,
    cached,
    decode_cached,
    encode_cached,
    record,
)
from atelier.wire.searches import containing


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of a list; None matches everything."""

    status: str | None = None
    tag: str | None = None
    q: str | None = None


async def find(
    database: Database, cache: Cache, *, principal: Principal, image_id: int, seconds: int
) -> Cached:
    """An image that `principal` may see.

    Raises NotFound for a stranger's as for one that does not exist, and NotAllowed.
    """

    async def load() -> bytes | None:
        row = await database.by_id(SELECT_ONE, image_id)
        return None if row is None else encode_cached(cached(row))

    value = await cache.get_or_load(cache_key(image_id), load, ttl=seconds)
    if not value:
        raise NotFound(MISSING)
    image = decode_cached(value)
    require(principal, image.owner_id, Right.IMAGES_READ, MISSING)
    return image


async def page(
    database: Database,
    *,
    user_id: int,
    space_id: int,
    filters: Filters,
    before: int | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Up to `limit` records of a space, newest first, with ids below `before`.

    Raises TooManyRequests and TooSlow if there is a text to search for; the searches of
    `user_id` count together, whatever the space.
    """
    where, values = ["owner_id = $1"], [space_id]
    for clause, value in _clauses(filters, before):
        values.append(value)
        where.append(clause.replace("?", f"${len(values)}"))
    query = (
        f"SELECT {COLUMNS} FROM images WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT "
        f"{int(limit)}"
    )
    if filters.q is None:
        return [record(row) for row in await database.fetch(query, *values)]
    return [record(row) for row in await database.search(user_id, query, *values)]


def _clauses(filters: Filters, before: int | None) -> list[tuple[str, Any]]:
    clauses: list[tuple[str, Any]] = []
    if before is not None:
        clauses.append(("id < ?", before))
    if filters.status is not None:
        clauses.append(("status = ?", filters.status))
    if filters.tag is not None:
        clauses.append(("tags @> ARRAY[?]", filters.tag))
    if filters.q is not None:
        clauses.append(("(title ILIKE ? OR description ILIKE ?)", containing(filters.q)))
    return clauses
