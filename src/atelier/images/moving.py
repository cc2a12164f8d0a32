"""Moves pictures from space to space: all of them or none. Knows no HTTP."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.auth import Principal, Right, require
from atelier.cache import Cache
from atelier.errors import NotFound
from atelier.events import outbox
from atelier.events.messages import utcnow
from atelier.http import allowance
from atelier.images import events
from atelier.images.errors import InUse
from atelier.images.records import MISSING, cache_key
from atelier.observe import requester, tracing
from atelier.wire.allowance import Allowance
from atelier.wire.spaces import MAKER_FOR_GOOD

_SOURCES = text("SELECT DISTINCT owner_id FROM images WHERE id = ANY(:ids)")
# A stranger must not lock a row, nor wait for who does. In the order in which archivers lock, and
# not against the counting of a quota, which waits for the spaces that are held here.
_LOCK = text("""
    SELECT id, owner_id, size FROM images WHERE id = ANY(:ids) AND owner_id = ANY(:visible)
    ORDER BY id FOR NO KEY UPDATE
""")
# What a row tells by its space alone, who made it or that they have left, it says from now on.
_MOVE = text(f"""
    WITH moved AS (
        UPDATE images SET owner_id = :target, created_by = {MAKER_FOR_GOOD},
            sequence = sequence + 1, updated_at = :now
        WHERE id = ANY(:ids) RETURNING *
    )
    {outbox.INSERT_TRACED}
    SELECT '{events.UPDATED}', 'images/' || id, sequence, {events.state_of_row()},
        owner_id, :actor, :traceparent
    FROM moved ORDER BY id
""")


# Whoever makes a task holds the picture's row against being moved.
_USED = text("SELECT EXISTS (SELECT FROM tasks WHERE image_id = ANY(:ids))")


async def move(
    session: AsyncSession,
    cache: Cache,
    allowed: Allowance,
    *,
    principal: Principal,
    ids: Collection[int],
    target: int,
) -> list[int]:
    """Move pictures within the caller's transaction; returns those that were elsewhere.

    The caller has judged the right in the space `target` and had it counted, commits, and drops
    from the cache what is returned. Raises NotFound if any picture or the space is not there,
    NotAllowed, InUse, and Forbidden if they do not fit into the space's quota.
    """
    rows = await _locked(session, principal, ids, target)
    moving = [row for row in rows if row.owner_id != target]
    if not moving:
        return []
    moved = [row.id for row in moving]
    if await session.scalar(_USED, {"ids": moved}):
        raise InUse("Tasks are made of one of these pictures; delete them first.")
    await allowance.take_turn(session, {target} | {row.owner_id for row in moving})
    values = {"ids": moved, "target": target, "now": utcnow()}
    traced = {"actor": requester.actor(), "traceparent": tracing.traceparent()}
    await session.execute(_MOVE, values | traced)
    size = sum(row.size for row in moving)
    await allowance.confirm(session, allowed, target, size, len(moving))
    await cache.fence(keys(moved))
    return moved


def keys(ids: Collection[int]) -> list[str]:
    """The cache's keys of pictures."""
    return [cache_key(image_id) for image_id in ids]


async def _locked(
    session: AsyncSession, principal: Principal, ids: Collection[int], target: int
) -> Sequence[Row[Any]]:
    """The rows, locked, and the spaces that they are in, held."""
    sources = set(await session.scalars(_SOURCES, {"ids": list(ids)}))
    held = await allowance.hold_ends(session, principal, sources, target)
    values = {"ids": list(ids), "visible": list(principal.roles)}
    rows = (await session.execute(_LOCK, values)).all()
    if len(rows) != len(ids):
        raise NotFound(MISSING)
    for space_id in {row.owner_id for row in rows}:
        require(principal, space_id, Right.IMAGES_WRITE, MISSING)
    # Another move came between the two looks.
    if late := {row.owner_id for row in rows} - held:
        await allowance.hold(session, late)
    return rows
