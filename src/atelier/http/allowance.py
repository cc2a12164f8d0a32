"""Quotas on the API's connections. Knows no slice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request

from atelier.database import Database
from atelier.http.resources import Resources
from atelier.settings import Settings
from atelier.wire import allowance as law
from atelier.wire.allowance import Allowance
from atelier.wire.idempotency import HEADER
from atelier.wire.multipart import FIELDS_BYTES

# Of a body, at most: what is not the picture, in its form or its JSON.
OVERHEAD_BYTES = 2 * FIELDS_BYTES
# Of the rest, at least: base64 has 3 bytes in 4 characters, some of them escaped, and line ends.
PICTURE_SHARE = 0.7
_USAGE = law.USAGE.format(owner="$1")
_OWNER = {"owner": ":owner"}
_OWN_USAGE, _STOP_INSERTS, _COUNT = (
    text(statement.format(**_OWNER)) for statement in (law.USAGE, law.STOP_INSERTS, law.COUNT)
)
_PATIENCE = text(law.PATIENCE)
_FORGET = text(law.FORGET)


def allowance_of(settings: Settings) -> Allowance:
    """What each person may keep."""
    return Allowance(settings.quota_objects, settings.quota_bytes)


async def refuse_early(request: Request, resources: Resources, owner_id: int) -> None:
    """Refuse an upload that does not fit whatever its body holds, before the body is read.

    One with an Idempotency-Key is read: it may be a repeated one, to be answered as before.
    Raises Forbidden.
    """
    allowance = allowance_of(resources.settings)
    if not allowance.is_limited or HEADER in request.headers:
        return
    length = int(request.headers.get("content-length", "0"))
    least = max(1, int((length - OVERHEAD_BYTES) * PICTURE_SHARE))
    await require_room(resources.database, allowance, owner_id, least)


async def require_room(database: Database, allowance: Allowance, owner_id: int, size: int) -> None:
    """Judge whether an object fits, before it is stored; `confirm` judges again.

    Must not run within a transaction. Raises Forbidden.
    """
    if allowance.is_limited:
        used = await database.fetchrow(_USAGE, owner_id) or await _count(database, owner_id)
        if used is not None:  # else the account is gone, which the row's constraint will tell
            allowance.require_room(used, size)


async def confirm(session: AsyncSession, allowance: Allowance, owner_id: int, size: int) -> None:
    """Judge whether the object that this transaction has made fits; await it before the commit.

    Transactions of one owner take turns from their new row on, so none takes another's place.
    Raises Forbidden.
    """
    if not allowance.is_limited:
        return
    used = (await session.execute(_OWN_USAGE, {"owner": owner_id})).mappings().first()
    if used is not None:
        allowance.confirm(dict(used), size)


async def forget(session: AsyncSession, _: int) -> None:
    """Stop counting in the transaction that deletes an account: await it before its rows go."""
    await session.execute(_FORGET)


async def _count(database: Database, owner_id: int) -> Mapping[str, Any] | None:
    async with database.session() as session:
        await session.execute(_PATIENCE)
        await session.execute(_STOP_INSERTS, {"owner": owner_id})
        await session.execute(_COUNT, {"owner": owner_id})
        await session.commit()
    return await database.fetchrow(_USAGE, owner_id)
