"""Moves tasks from one space to another: all that are named, or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from atelier.auth import Principal, Right, require
from atelier.database import Database
from atelier.errors import Conflict, NotFound
from atelier.http import allowance
from atelier.observe import requester
from atelier.tasks import events
from atelier.tasks.fetch import inside
from atelier.tasks.pools import SPACE, Pool
from atelier.tasks.records import MISSING
from atelier.tasks.watermarks import Watermarks
from atelier.wire.allowance import Allowance
from atelier.wire.spaces import MAKER_FOR_GOOD

_SOURCES = "SELECT DISTINCT owner_id FROM tasks WHERE id = any($1::bigint[])"
# In the order of their ids, as whoever deletes many locks them, and not against the counting of a
# quota, which waits for the spaces that are held here.
_LOCK = """
    SELECT id, owner_id, image_id, size, leased_until > clock_timestamp() AS leased FROM tasks
    WHERE id = any($1::bigint[]) AND owner_id = any($2::bigint[]) ORDER BY id
    FOR NO KEY UPDATE
"""
# What a task tells by its space alone, who made it or that they have left, it says from now on.
_MOVE = f"""
    WITH moved AS (
        UPDATE tasks SET owner_id = $2, queue_id = NULL, created_by = {MAKER_FOR_GOOD},
            sequence = sequence + 1
        FROM unnest($1::bigint[], $3::bigint[]) AS was (task_id, from_space_id)
        WHERE tasks.id = was.task_id RETURNING tasks.*, was.from_space_id
    ), announced AS (
        {events.announce(events.MOVED, "moved", "$4", more="'from_space_id', from_space_id")}
    )
    SELECT count(*) AS moved FROM moved
"""

Rows = list[Mapping[str, Any]]


class Leased(Conflict):
    """A task that is leased stays in its space."""

    slug = "task-leased"


class StaysWithImage(Conflict):
    """A task of a stored picture cannot be moved."""

    slug = "task-of-picture"


async def move(
    database: Database,
    watermarks: Watermarks,
    principal: Principal,
    task_ids: Sequence[int],
    space_id: int,
    allowed: Allowance,
) -> int:
    """Move tasks to a space in which the principal may write; returns how many were elsewhere.

    They are in no queue there. Raises NotFound for one that the principal does not see,
    NotAllowed, Leased, StaysWithImage, and Forbidden if they are over the space's quota.
    """
    await allowance.begin(database, allowed, space_id)
    async with database.session() as session:
        rows = [
            row
            for row in await _locked(session, principal, sorted(set(task_ids)), space_id)
            if row["owner_id"] != space_id
        ]
        if any(row["leased"] for row in rows):
            raise Leased("A task is leased: it can be moved once its lease has ended.")
        if any(row["image_id"] is not None for row in rows):
            raise StaysWithImage("A task of a stored picture stays in the space of the picture.")
        if rows:
            owners = [row["owner_id"] for row in rows]
            await allowance.take_turn(session, {space_id, *owners})
            ids = [row["id"] for row in rows]
            await inside(session)(_MOVE, ids, space_id, owners, requester.actor())
            size = sum(row["size"] for row in rows)
            await allowance.confirm(session, allowed, space_id, size, len(rows))
            await session.commit()
    watermarks.forget(
        Pool(SPACE, space_id)
    )  # what came is perhaps older than all that is free there
    return len(rows)


async def _locked(
    session: AsyncSession, principal: Principal, task_ids: list[int], space_id: int
) -> Rows:
    """The rows, locked, and the spaces that they are in, held."""
    connection = await session.connection()
    sources = (await connection.exec_driver_sql(_SOURCES, (task_ids,))).scalars().all()
    held = await allowance.hold_ends(session, principal, sources, space_id)
    values = (task_ids, list(principal.roles))
    rows: Rows = [*(await connection.exec_driver_sql(_LOCK, values)).mappings()]
    if len(rows) < len(task_ids):
        raise NotFound(MISSING)
    owners = {row["owner_id"] for row in rows}
    for owner_id in owners:
        require(principal, owner_id, Right.TASKS_WRITE, MISSING)
    if late := owners - held:  # another move came between the two looks
        await allowance.hold(session, late)
    return rows
