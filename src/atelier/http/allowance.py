"""Quotas on the API's connections. Knows no slice."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.auth import Principal
from atelier.database import Database
from atelier.settings import Settings
from atelier.wire import allowance as law
from atelier.wire.allowance import Allowance
from atelier.wire.idempotency import HEADER
from atelier.wire.multipart import FIELDS_BYTES
from atelier.wire.spaces import gone

if TYPE_CHECKING:  # `atelier check` uses slices' services, and its image has no web framework
    from starlette.requests import Request

    from atelier.http.resources import Resources

# Of a body, at most: what is not the picture, in its form or its JSON.
OVERHEAD_BYTES = 2 * FIELDS_BYTES
# Of the rest, at least: base64 has 3 bytes in 4 characters, some of them escaped, and line ends.
PICTURE_SHARE = 0.7
_USAGE = law.USAGE.format(owner="$1")
_OWNER = {"owner": ":owner"}
_OWN_USAGE, _STOP_INSERTS, _STOP_DELETIONS, _COUNT = (
    text(statement.format(**_OWNER))
    for statement in (law.USAGE, law.STOP_INSERTS, law.STOP_DELETIONS, law.COUNT)
)
_PATIENCE = text(law.PATIENCE)
_HOLD, _TURN = (text(statement.format(spaces=":spaces")) for statement in (law.HOLD, law.TURN))
_FORGET = text(law.FORGET)


def allowance_of(settings: Settings) -> Allowance:
    """What each space may keep."""
    return Allowance(settings.quota_objects, settings.quota_bytes)


async def refuse_early(request: Request, resources: Resources, space_id: int) -> None:
    """Refuse an upload that does not fit into a space, before its body is read.

    One with an Idempotency-Key is read: it may be a repeated one, to be answered as before.
    Raises Forbidden.
    """
    allowance = allowance_of(resources.settings)
    if not allowance.is_limited or HEADER in request.headers:
        return
    length = int(request.headers.get("content-length", "0"))
    least = max(1, int((length - OVERHEAD_BYTES) * PICTURE_SHARE))
    await require_room(resources.database, allowance, space_id, least)


async def begin(database: Database, allowance: Allowance, space_id: int) -> None:
    """Have a space counted before a transaction moves things into it."""
    if allowance.is_limited and not await database.fetchrow(_USAGE, space_id):
        await _count(database, space_id)


async def require_room(database: Database, allowance: Allowance, owner_id: int, size: int) -> None:
    """Judge whether an object fits, before it is stored; `confirm` judges again.

    Must not run within a transaction. Raises Forbidden.
    """
    if allowance.is_limited:
        used = await database.fetchrow(_USAGE, owner_id) or await _count(database, owner_id)
        if used is not None:  # else the account is gone, which the row's constraint will tell
            allowance.require_room(used, size)


async def hold_ends(
    session: AsyncSession, principal: Principal, sources: Collection[int], target: int
) -> set[int]:
    """Keep the ends of a move from being deleted or counted until the commit; those held.

    Await this before the rows are locked. Nobody holds the spaces of others. Raises NotFound if
    `target` is gone.
    """
    held = await hold(session, set(principal.roles).intersection(sources) | {target})
    if target not in held:
        raise gone()
    return held


async def hold(session: AsyncSession, space_ids: Collection[int]) -> set[int]:
    """Keep spaces from being deleted or counted anew until the commit; those that there are."""
    return set(await session.scalars(_HOLD, {"spaces": list(space_ids)}))


async def take_turn(session: AsyncSession, space_ids: Collection[int]) -> None:
    """Wait for others who change what is counted of these spaces: before the rows are moved."""
    await session.execute(_TURN, {"spaces": list(space_ids)})


async def confirm(
    session: AsyncSession, allowance: Allowance, owner_id: int, size: int, number: int = 1
) -> None:
    """Judge whether what this transaction has made or moved fits; await it before the commit.

    That is `number` objects of `size` bytes together. Transactions of one space take turns from
    their new row on, so none takes another's place. Raises Forbidden.
    """
    if not allowance.is_limited:
        return
    used = (await session.execute(_OWN_USAGE, {"owner": owner_id})).mappings().first()
    if used is not None:
        allowance.confirm(dict(used), size, number)


async def forget(session: AsyncSession, _: int) -> None:
    """Stop counting in the transaction that deletes an account: await it before its rows go."""
    await session.execute(_FORGET)


async def _count(database: Database, owner_id: int) -> Mapping[str, Any] | None:
    async with database.session() as session:
        await session.execute(_PATIENCE)
        await session.execute(_STOP_INSERTS, {"owner": owner_id})
        await session.execute(_STOP_DELETIONS, {"owner": owner_id})
        await session.execute(_COUNT, {"owner": owner_id})
        await session.commit()
    return await database.fetchrow(_USAGE, owner_id)
