"""Deletes pictures, all that are named or none, and restores them from the trash.

Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.auth import Principal, Right, require
from atelier.blobs import Blobs, garbage
from atelier.cache import Cache
from atelier.database import Database
from atelier.errors import NotFound, PreconditionFailed
from atelier.events import outbox
from atelier.http import allowance
from atelier.images import events
from atelier.images.errors import InUse
from atelier.images.models import Image
from atelier.images.records import MISSING, cache_key
from atelier.observe import requester, tracing
from atelier.wire import trash
from atelier.wire.trash import Kind

Expected = Callable[[str], bool]  # judges the present entity tag (If-Match)

# A stranger must not lock a row, nor wait for who does: that would tell that it exists.
_LOCK = text("""
    SELECT id, owner_id, sequence FROM images WHERE id = ANY(:ids) AND owner_id = ANY(:visible)
    ORDER BY id FOR UPDATE
""")
_BLOBS = "blob || ARRAY(SELECT r ->> 'blob' FROM jsonb_array_elements(renditions) AS r)"
_ANNOUNCED = f"""
    {outbox.INSERT_TRACED}
    SELECT '{{event}}', 'images/' || id, {{sequence}}, {events.state_of_row()},
        owner_id, :actor, :traceparent
    FROM {{rows}} ORDER BY id
"""
_DELETE = f"""
    WITH gone AS (
        DELETE FROM images WHERE id = ANY(:ids) RETURNING *
    ), announced AS (
        {_ANNOUNCED.format(event=events.DELETED, sequence="sequence + 1", rows="gone")}
    )
"""
_DISCARD = text(f"{_DELETE} SELECT unnest({_BLOBS}) FROM gone")
_KEEP = text(_DELETE + trash.kept(Kind.IMAGE, ":actor", title="title", blobs=_BLOBS))
_COLUMNS = [column.name for column in Image.__table__.columns if column.computed is None]
RESTORE = text(f"""
    WITH taken_out AS (
        {trash.TAKEN_OUT.format(kind=Kind.IMAGE, ids=":ids")}
    ), restored AS (
        INSERT INTO images ({", ".join(_COLUMNS)}) OVERRIDING SYSTEM VALUE
        SELECT {", ".join(f"row.{name}" for name in _COLUMNS)}
        FROM taken_out CROSS JOIN LATERAL jsonb_populate_record(
            CAST(NULL AS images),
            content || {trash.RENEWED} || jsonb_build_object(
                'updated_at', clock_timestamp(), 'offered_at', clock_timestamp()
            )
        ) AS row
        RETURNING *
    )
    {_ANNOUNCED.format(event=events.RESTORED, sequence="sequence", rows="restored")}
""")


async def delete(
    database: Database,
    blobs: Blobs,
    cache: Cache,
    *,
    principal: Principal,
    image_id: int,
    expected: Expected,
    keep: bool,
) -> None:
    """Delete a picture: its row, its cached record, and unless the trash keeps them, its files.

    A kill at any point leaves nothing that is not collected later. Raises as `remove` does.
    """
    async with database.session() as session:
        keys = await remove(
            session, cache, principal=principal, ids=[image_id], expected=expected, keep=keep
        )
        await session.commit()
    await cache.drop([cache_key(image_id)])
    # After a kill before this line the collector does it.
    await garbage.remove(database, blobs, keys)


async def remove(
    session: AsyncSession,
    cache: Cache,
    *,
    principal: Principal,
    ids: Collection[int],
    expected: Expected | None = None,
    keep: bool,
) -> Sequence[str]:
    """Delete pictures within the caller's transaction; the keys of blobs that are garbage then.

    The caller commits, drops the pictures from the cache and removes the blobs. With `keep` they
    go to the trash, with their blobs. Raises NotFound, NotAllowed, PreconditionFailed and InUse.
    """
    rows = (
        await session.execute(_LOCK, {"ids": list(ids), "visible": list(principal.roles)})
    ).all()
    if len(rows) != len(ids):
        raise NotFound(MISSING)
    for row in rows:
        require(principal, row.owner_id, Right.IMAGES_WRITE, MISSING)
        if expected is not None and not expected(str(row.sequence)):
            raise PreconditionFailed("The image has changed since this entity tag.")
    if not keep:
        await allowance.take_turn(session, {row.owner_id for row in rows})
    await cache.fence([cache_key(image_id) for image_id in ids])
    values = {"ids": list(ids), **_traced()}
    try:
        result = await session.execute(_KEEP if keep else _DISCARD, values)
    except IntegrityError as error:  # a task refers to one
        which = "this picture" if len(ids) == 1 else "one of these pictures"
        raise InUse(f"Tasks are made of {which}; delete them first.") from error
    keys = [] if keep else list(result.scalars())
    await garbage.discard(session, keys)
    return keys


async def restore(session: AsyncSession, cache: Cache, ids: Collection[int]) -> Sequence[str]:
    """Restore pictures from the trash within the caller's transaction.

    Returns keys to drop from the cache after the commit. The caller has judged the right, and
    locked what is restored. A picture that waited for its renditions is offered anew.
    """
    keys = [cache_key(image_id) for image_id in ids]
    await cache.fence(keys)
    await session.execute(RESTORE, {"ids": list(ids), **_traced()})
    return keys


def _traced() -> dict[str, str | None]:
    return {"actor": requester.actor(), "traceparent": tracing.traceparent()}
