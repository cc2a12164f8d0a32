"""Reads pictures: by id through the cache, and lists by keyset.

Uses no ORM; rows leave as ready bytes.
"""

from __future__ import annotations

from typing import Any

import asyncpg

from atelier.auth import Principal, Right, require
from atelier.cache import Cache
from atelier.database import Database
from atelier.errors import NotFound
from atelier.images.listing import Filters, rows, statement
from atelier.images.listing import count as counting
from atelier.images.records import (
    COLUMNS,
    MISSING,
    SELECT_ONE,
    Cached,
    cache_key,
    cached,
    decode_cached,
    encode_cached,
)
from atelier.wire.searches import beginning


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
    filters: Filters,
    position: tuple[int, ...] | None,
    limit: int,
) -> list[asyncpg.Record]:
    """Up to `limit` rows of a space's list, behind a position.

    Raises TooManyRequests and TooSlow where filters need more than an index; the searches of
    `user_id` count together, whatever the space.
    """
    return await rows(database, user_id, filters, statement(filters, COLUMNS, limit, position))


async def count(database: Database, *, user_id: int, filters: Filters) -> tuple[int, bool]:
    """How many pictures filters find, and whether that is all: it is counted to `COUNTED`.

    Raises TooManyRequests and TooSlow, as searches do.
    """
    query, values = counting(filters, COUNTED + 1)
    [row] = await database.search(user_id, query, *values)
    return min(row["found"], COUNTED), row["found"] <= COUNTED


async def tags(
    database: Database, *, user_id: int, space_id: int, prefix: str, limit: int
) -> list[dict[str, Any]]:
    """The tags of a space that begin with a text, with their counts, the most frequent first.

    Raises TooManyRequests and TooSlow, as searches do.
    """
    values = [space_id, limit, beginning(prefix)] if prefix else [space_id, limit]
    found = await database.search(user_id, _TAGS[bool(prefix)], *values)
    return [dict(row) for row in found]


COUNTED = 100_000  # pictures counted for one answer: a tenth of a second
# Index-only; the order of equal counts is the same each time.
_TAGS = [
    f"""
    SELECT tag, count(*) AS count FROM image_tags WHERE owner_id = $1 {more}
    GROUP BY tag ORDER BY count DESC, tag LIMIT $2
    """
    for more in ("", "AND tag ILIKE $3")
]
