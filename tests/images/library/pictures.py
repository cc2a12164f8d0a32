"""Pictures that are in the database alone, by which the library is tested."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from tests.application import Client

if TYPE_CHECKING:
    from atelier.database import Database

DAY = "2026-01-{:02}T12:00:00+00:00"
ADD = """
    INSERT INTO images (owner_id, created_by, title, description, tags, blob, format, media_type,
        width, height, size, sha256, metadata, status, renditions, version, sequence, received_at,
        updated_at, offered_at)
    VALUES ($1, $1, $2, $3, $4, gen_random_uuid()::text, $5, 'image/jpeg', 640, 480, 1000, $6,
        $7::text::jsonb, $8, $9::text::jsonb, 1, 1, $10::text::timestamptz, now(), now())
    RETURNING id
"""
# One in ten has the second tag, one in a hundred the third and none the fourth.
MANY = """
    INSERT INTO images (owner_id, created_by, title, description, tags, blob, format, media_type,
        width, height, size, sha256, metadata, status, renditions, version, sequence, received_at,
        updated_at, offered_at)
    SELECT $1::bigint, $1, 'picture ' || n, '', ARRAY['all']
            || CASE WHEN n % 10 = 0 THEN ARRAY['some'] ELSE '{}' END
            || CASE WHEN n % 100 = 0 THEN ARRAY['few'] ELSE '{}' END,
        'images/' || gen_random_uuid(), CASE WHEN n % 50 = 0 THEN 'TIFF' ELSE 'JPEG' END,
        'image/jpeg', 4000, 3000, 1000000, 'x' || n,
        jsonb_build_object('exif', jsonb_build_object('taken_at', to_char(
            timestamp '2020-01-01' + n * interval '1 minute', 'YYYY-MM-DD"T"HH24:MI:SS'))),
        CASE WHEN n % 200 = 0 THEN 'failed' ELSE 'ready' END,
        '[]', 1, 1, timestamptz '2025-01-01' + n * interval '1 minute', now(), now()
    FROM generate_series(1, $2::int) AS n
"""


async def add(
    database: Database,
    space_id: int,
    *,
    title: str = "Crossing",
    description: str = "",
    tags: tuple[str, ...] = (),
    format: str = "JPEG",  # noqa: A002 - the column's name
    sha256: str = "",
    taken_at: str | None = None,
    status: str = "ready",
    renditions: tuple[dict[str, Any], ...] = (),
    day: int = 1,
) -> int:
    """Add a picture that was uploaded on a day of January 2026; its id."""
    metadata = {} if taken_at is None else {"exif": {"taken_at": taken_at}}
    values = (
        *(space_id, title, description, list(tags), format, sha256),
        *(orjson.dumps(metadata).decode(), status, orjson.dumps(renditions).decode()),
        DAY.format(day),
    )
    [row] = await database.fetch(ADD, *values)
    return int(row["id"])


class Person(Client):
    """Somebody with a library."""

    async def walk(self, **params: object) -> list[int]:
        """The ids of a list, page by page."""
        answer = await self.get("/api/images", params=params)
        found: list[int] = []
        while True:
            assert answer.status_code == 200, answer.text
            found += [record["id"] for record in answer.json()]
            if "next" not in answer.links:
                return found
            answer = await self.get(answer.links["next"]["url"])
