"""Changes of many pictures at once, all of them or none, each announced as if it were alone.

Within the caller's transaction, which commits, and then drops from the cache what has changed.
Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.auth import Principal, Right, require
from atelier.cache import Cache
from atelier.errors import NotFound
from atelier.events import outbox
from atelier.events.messages import utcnow
from atelier.images import events
from atelier.images.moving import keys
from atelier.images.records import MISSING
from atelier.images.texts import TAGS_LIMIT, TOO_MANY
from atelier.observe import requester, tracing
from atelier.wire.complaints import refused

# A stranger must not lock a row, nor wait for who does. In the order in which archivers lock.
_LOCK = text("""
    SELECT owner_id FROM images WHERE id = ANY(:ids) AND owner_id = ANY(:visible)
    ORDER BY id FOR UPDATE
""")
# New tags behind those that are there; the order of both stays.
_WITH, _WITHOUT = (
    f"ARRAY(SELECT tag FROM unnest({these}) WITH ORDINALITY AS each (tag, place) "
    f"WHERE NOT tag = ANY({others}) ORDER BY place)"
    for these, others in (("CAST(:tags AS text[])", "tags"), ("tags", "CAST(:tags AS text[])"))
)
_TAG, _UNTAG = (
    text(f"""
    WITH changed AS (
        UPDATE images SET tags = {tags}, sequence = sequence + 1, updated_at = :now
        WHERE id = ANY(:ids) AND tags <> {tags} RETURNING *
    ), announced AS (
        {outbox.INSERT_TRACED}
        SELECT '{events.UPDATED}', 'images/' || id, sequence, {events.state_of_row()},
            owner_id, :actor, :traceparent
        FROM changed ORDER BY id
    )
    SELECT id, cardinality(tags) AS number FROM changed
""")
    for tags in (f"tags || {_WITH}", _WITHOUT)
)


async def tag(
    session: AsyncSession,
    cache: Cache,
    *,
    principal: Principal,
    ids: Collection[int],
    tags: Sequence[str],
    remove: bool = False,
) -> list[int]:
    """Give pictures these tags, or take them away; returns those that had others.

    Raises NotFound if any is not there, NotAllowed, and Invalid if one would have too many tags.
    """
    await _hold(session, principal, ids)
    values = {"ids": list(ids), "tags": list(tags), "now": utcnow()}
    traced = {"actor": requester.actor(), "traceparent": tracing.traceparent()}
    changed = (await session.execute(_UNTAG if remove else _TAG, values | traced)).all()
    if any(row.number > TAGS_LIMIT for row in changed):
        raise refused(TOO_MANY, "body", "tags")
    found = [row.id for row in changed]
    await cache.fence(keys(found))
    return found


async def _hold(session: AsyncSession, principal: Principal, ids: Collection[int]) -> None:
    """Lock the rows. Raises NotFound and NotAllowed."""
    values = {"ids": list(ids), "visible": list(principal.roles)}
    owners = (await session.scalars(_LOCK, values)).all()
    if len(owners) != len(ids):
        raise NotFound(MISSING)
    for space_id in set(owners):
        require(principal, space_id, Right.IMAGES_WRITE, MISSING)
