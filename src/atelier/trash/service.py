"""The use cases of the trash: list, restore, purge; by hand, and when the time is over.

Knows no HTTP and no other slice: functions of the caller restore what each slice keeps.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.auth import Principal, Right, may, require
from atelier.blobs.statements import READERS_SECONDS
from atelier.cache import Cache
from atelier.database import Database
from atelier.errors import NotFound
from atelier.events import outbox
from atelier.http import allowance
from atelier.observe import requester
from atelier.wire.spaces import gone
from atelier.wire.trash import Kind

MISSING = "There is no such thing in the trash."  # to strangers, too
PURGE_ROWS = 10_000  # purged by one statement: none may run into the statement timeout
# Who may delete things of a kind sees which were deleted.
RIGHTS = {
    Kind.IMAGE: Right.IMAGES_WRITE,
    Kind.TASK: Right.TASKS_WRITE,
    Kind.FILE: Right.FILES_WRITE,
}

# Restores things of one kind, by their ids, within the caller's transaction, which has locked and
# judged them; returns keys to drop from the cache after its commit.
Restore = Callable[[AsyncSession, Cache, Collection[int]], Awaitable[Sequence[str]]]

_PAGE = """
    SELECT id, kind, thing_id, owner_id, title, size, actor, deleted_at FROM trash
    WHERE owner_id = $1 AND kind = ANY($2) AND ($3::bigint IS NULL OR id < $3)
    ORDER BY id DESC LIMIT $4
"""
_NAMED = (
    "(kind, thing_id) IN (SELECT * FROM unnest(CAST(:kinds AS text[]), CAST(:ids AS bigint[])))"
)
_SOURCES = text(f"SELECT DISTINCT owner_id FROM trash WHERE {_NAMED} AND owner_id = ANY(:visible)")
# A stranger must not lock a row, nor wait for who does.
_LOCK = text(f"""
    SELECT id, kind, thing_id, owner_id FROM trash WHERE {_NAMED} AND owner_id = ANY(:visible)
    ORDER BY id FOR UPDATE
""")
_PURGE = f"""
    WITH gone AS (
        DELETE FROM trash WHERE id IN (
            SELECT id FROM trash WHERE {{which}} LIMIT {PURGE_ROWS} FOR UPDATE
        ) RETURNING *
    ), discarded AS (
        INSERT INTO blob_garbage (key, after, intent)
        SELECT DISTINCT unnest(blobs),
            clock_timestamp() + interval '{READERS_SECONDS} seconds', false
        FROM gone
    ), announced AS (
        {outbox.INSERT}
        SELECT kind || '.purged', kind || 's/' || thing_id, sequence + 1, jsonb_build_object(
            'id', thing_id, 'owner_id', owner_id, 'space_id', owner_id, 'title', title,
            'size', size
        ), owner_id, CAST(:actor AS text)
        FROM gone ORDER BY id
    )
    SELECT count(*) FROM gone
"""
_PURGE_THESE = text(_PURGE.format(which="id = ANY(:ids) ORDER BY id"))
_PURGE_SPACE = text(
    _PURGE.format(which="owner_id = :space AND kind = ANY(:kinds) AND deleted_at <= :until")
)
_DUE = "deleted_at <= clock_timestamp() - CAST(:age AS interval)"
# Of one space at a time: whoever changes what is counted of several takes them in order.
_PURGE_DUE = text(
    _PURGE.format(
        which=f"""
            {_DUE} AND owner_id = (
                SELECT owner_id FROM trash WHERE {_DUE} ORDER BY deleted_at LIMIT 1
            )
        """
    )
)
_NOW = text("SELECT clock_timestamp()")


async def page(
    database: Database,
    principal: Principal,
    space_id: int,
    kind: Kind | None,
    *,
    before: int | None,
    limit: int,
) -> Sequence[Mapping[str, Any]]:
    """Up to `limit` deleted things of a space, last deleted first.

    Of the kinds that the principal may delete. Raises NotFound and NotAllowed.
    """
    kinds = _kinds(principal, space_id, kind)
    return await database.fetch(_PAGE, space_id, kinds, before, limit)


async def restore(
    database: Database,
    cache: Cache,
    principal: Principal,
    named: Collection[tuple[Kind, int]],
    restorers: Mapping[Kind, Restore],
) -> int:
    """Restore things, by kind and id: all or none; returns how many.

    `restorers` are asked in their order. Raises NotFound, NotAllowed and Conflict.
    """
    keys: list[str] = []
    async with database.session() as session:
        rows = await _locked(session, principal, named, hold=True)
        for kind, restorer in restorers.items():
            if ids := [row.thing_id for row in rows if row.kind == kind]:
                keys += await restorer(session, cache, ids)
        await session.commit()
    await cache.drop(keys)
    return len(rows)


async def purge(
    database: Database, principal: Principal, named: Collection[tuple[Kind, int]]
) -> int:
    """Purge things, by kind and id: all or none; returns how many.

    Their blobs are garbage then. Raises NotFound and NotAllowed.
    """
    async with database.session() as session:
        rows = await _locked(session, principal, named, hold=False)
        await allowance.take_turn(session, {row.owner_id for row in rows})
        values = {"ids": [row.id for row in rows], "actor": requester.actor()}
        await session.execute(_PURGE_THESE, values)
        await session.commit()
    return len(rows)


async def empty(database: Database, principal: Principal, space_id: int, kind: Kind | None) -> int:
    """Purge what is in the trash of a space now, of the kinds that the principal may delete.

    In transactions of `PURGE_ROWS`; returns how many. Raises NotFound and NotAllowed.
    """
    kinds = _kinds(principal, space_id, kind)
    async with database.session() as session:
        until = await session.scalar(_NOW)
    values = {"space": space_id, "kinds": kinds, "until": until, "actor": requester.actor()}
    return await _in_batches(database, _PURGE_SPACE, values)


async def purge_due(database: Database, days: int) -> int:
    """Purge what was deleted more than `days` ago; returns how many.

    Any number may run at once.
    """
    return await _in_batches(database, _PURGE_DUE, {"age": timedelta(days=days), "actor": None})


async def forget(session: AsyncSession, space_id: int) -> None:
    """Purge all of one space within the caller's transaction, which has deleted all else in it."""
    values = {
        "space": space_id,
        "kinds": list(Kind),
        "until": await session.scalar(_NOW),
        "actor": requester.actor(),
    }
    while await session.scalar(_PURGE_SPACE, values):
        pass


async def _in_batches(database: Database, statement: Any, values: Mapping[str, Any]) -> int:
    purged = 0
    while True:
        async with database.session() as session:
            batch = await session.scalar(statement, values) or 0
            await session.commit()
        purged += batch
        if not batch:
            return purged


def _kinds(principal: Principal, space_id: int, kind: Kind | None) -> list[str]:
    """The kinds to be shown: those that are asked for and that the principal may delete."""
    asked = list(Kind) if kind is None else [kind]
    kinds = [each for each in asked if may(principal, space_id, RIGHTS[each])]
    if not kinds:
        require(principal, space_id, RIGHTS[asked[0]], "There is no such space.")
    return [str(each) for each in kinds]


async def _locked(
    session: AsyncSession,
    principal: Principal,
    named: Collection[tuple[Kind, int]],
    *,
    hold: bool,
) -> Sequence[Row[Any]]:
    """The rows, locked and judged; with `hold` their spaces are not deleted meanwhile."""
    values = {
        "kinds": [str(kind) for kind, _ in named],
        "ids": [thing_id for _, thing_id in named],
        "visible": list(principal.roles),
    }
    if hold:
        sources = set(await session.scalars(_SOURCES, values))
        if sources - await allowance.hold(session, sources):
            raise gone()
    rows = (await session.execute(_LOCK, values)).all()
    if len(rows) != len(named):
        raise NotFound(MISSING)
    for row in rows:
        require(principal, row.owner_id, RIGHTS[Kind(row.kind)], MISSING)
    return rows
