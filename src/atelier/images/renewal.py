"""Finds the pictures whose renditions are not what the settings ask for, and queues them anew.

It reads the table once, newest first, in pages by key; knows no queue.
"""

from __future__ import annotations

from typing import NamedTuple

from atelier.cache import Cache
from atelier.database import Database
from atelier.images.models import READY, Image
from atelier.images.service import queue_again
from atelier.settings import Settings

PAGE_ROWS = 500  # a few milliseconds, and what a killed run for all of them does twice
BEFORE_ALL = 2**63 - 1

# `$3` are names that no picture lacks unless settings have changed; none: every picture is due.
_PAGE = f"""
    WITH page AS (
        SELECT id, status, renditions FROM images WHERE id < $1 ORDER BY id DESC LIMIT $2
    )
    SELECT id, status = '{READY}' AND (cardinality($3::text[]) = 0 OR EXISTS (
        SELECT FROM unnest($3::text[]) AS wanted
        WHERE NOT renditions @> jsonb_build_array(jsonb_build_object('name', wanted))
    )) AS due
    FROM page ORDER BY id DESC
"""


class Seen(NamedTuple):
    """A picture that was looked at, and whether it is to be rendered anew."""

    id: int
    due: bool


def names(settings: Settings) -> list[str]:
    """The renditions that every picture has under these settings."""
    return [*settings.sizes, "gray"]


async def count(database: Database, before: int) -> int:
    """How many pictures there are with ids below `before`."""
    row = await database.fetchrow("SELECT count(*) AS count FROM images WHERE id < $1", before)
    return 0 if row is None else int(row["count"])


async def page(database: Database, before: int, wanted: list[str]) -> list[Seen]:
    """The next pictures with ids below `before`.

    Due are those that are ready and lack any of `wanted`, with none wanted all that are ready.
    """
    rows = await database.fetch(_PAGE, before, PAGE_ROWS, wanted)
    return [Seen(row["id"], row["due"]) for row in rows]


async def renew(
    database: Database, cache: Cache, image_id: int, wanted: list[str]
) -> Image | None:
    """Queue a picture anew, if it is still due; the caller sends the job."""

    def due(image: Image) -> bool:
        made = {rendition["name"] for rendition in image.renditions}
        return image.status == READY and (not wanted or not made.issuperset(wanted))

    return await queue_again(database, cache, image_id, due)
