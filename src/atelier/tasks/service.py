"""The use case of a space's editors: create.

One use case, one transaction. Knows no HTTP; dependencies are arguments. A user's counter grows in
the transaction that makes the task, and nothing lowers it afterwards; the sum of all counters is
kept beside it, in as many rows as there are shards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.blobs import Blobs, garbage, new_key
from atelier.database import Database
from atelier.errors import Unauthenticated
from atelier.events.messages import utcnow
from atelier.http import allowance
from atelier.observe import requester
from atelier.tasks import deleting, events, formats, queue_events, views
from atelier.tasks.fetch import inside
from atelier.tasks.formats import Format
from atelier.tasks.pools import SPACE, Pool
from atelier.tasks.records import COLUMNS
from atelier.tasks.shown import Showing, showing
from atelier.wire.allowance import Allowance
from atelier.wire.spaces import GONE, gone

INTENT = timedelta(hours=1)  # far above the time in which a received image is committed
# Rows of the total: two creators meet on one of them only if they are the same user, or one time
# in 64.
SHARDS = 64

# The user's row before the total's, here as when an account is deleted: the one order of locks
# prevents deadlocks.
_CREATE = f"""
    WITH maker AS (
        UPDATE users SET tasks_created = tasks_created + 1 WHERE id = $1 RETURNING id
    ), counted AS (
        INSERT INTO task_totals AS total (shard, created) SELECT id % {SHARDS}, 1 FROM maker
        ON CONFLICT (shard) DO UPDATE SET created = total.created + 1
    ), made AS (
        INSERT INTO tasks (
            owner_id, created_by, queue_id, meta, free, blob, format, media_type, size, sha256,
            sequence, created_at
        )
        SELECT $2, id, $11, $3, true, $4, $5, $6, $7, $8, 1, $9 FROM maker RETURNING *
    ), announced AS (
        {events.announce(events.CREATED, "made", "$10")}
    )
    SELECT {COLUMNS} FROM made
"""
_UNCOUNT = f"""
    UPDATE task_totals SET created = created - users.tasks_created
    FROM users WHERE users.id = $1 AND shard = users.id % {SHARDS} RETURNING created
"""


@dataclass(frozen=True, slots=True)
class Picture:
    """A received image: its bytes in memory or spooled at a path, already hashed and counted."""

    content: bytes | Path
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Created:
    """The row of a new task, and whether the job of its view is to be sent."""

    row: Mapping[str, Any]
    view_due: bool


async def create(
    database: Database,
    blobs: Blobs,
    probers: Executor,
    *,
    space_id: int,
    created_by: int,
    queue_id: int | None,
    picture: Picture,
    meta: str,
    allowed: Allowance,
    before_commit: Callable[[AsyncSession, Mapping[str, Any]], Awaitable[None]],
) -> Created:
    """Make a task: its image on disk, then its row, count and event in one transaction.

    The caller sends the job of its view. Raises Unsupported if the file is no image, Forbidden if
    it is over the space's quota, and NotFound if the space or the queue has gone.
    """
    created_at = utcnow()
    await allowance.require_room(database, allowed, space_id, picture.size)
    found, how = await asyncio.get_running_loop().run_in_executor(
        probers, _identify, picture.content
    )
    view_due = how is Showing.MADE
    key = new_key("tasks", f"image.{found.extension}")
    await garbage.intend(database, [key], INTENT)
    await blobs.put(key, picture.content)
    async with database.session() as session:
        await garbage.claim(session, [key])
        values = (
            created_by,
            space_id,
            meta,
            key,
            found.name,
            found.media_type,
            picture.size,
            picture.sha256,
            created_at,
            requester.actor(),
            queue_id,
        )
        row = await _insert(session, *values)
        if view_due:
            await views.want(inside(session), row["id"])
        await before_commit(session, row)
        await allowance.confirm(session, allowed, space_id, picture.size)
        await session.commit()
    return Created(row, view_due)


async def _insert(session: AsyncSession, *values: object) -> Mapping[str, Any]:
    try:
        row = await inside(session)(_CREATE, *values)
    except IntegrityError as error:
        raise gone() from error
    if row is None:
        raise Unauthenticated("The account is gone.")
    return row


def _identify(content: bytes | Path) -> tuple[Format, Showing]:
    if isinstance(content, bytes):
        head, tail = content[: formats.HEAD_BYTES], content[-formats.TAIL_BYTES :]
    else:
        with content.open("rb") as file:
            head = file.read(formats.HEAD_BYTES)
            file.seek(-min(formats.TAIL_BYTES, len(head)), 2)
            tail = file.read()
    found = formats.identify(head, tail)
    return found, showing(found.name, head)


async def forget(session: AsyncSession, owner_id: int) -> None:
    """Delete every task of one space; of a person's own also their count from the total.

    This happens in the caller's transaction; the images become garbage with its commit. The caller
    holds the lock of the space's row, and of its person's, so no task is added.
    """
    await deleting.empty(session, Pool(SPACE, owner_id), keep=False)
    fetch = inside(session)
    await fetch(queue_events.FORGET, owner_id, requester.actor())
    await fetch(_UNCOUNT, owner_id)


async def disown(session: AsyncSession, user_id: int) -> None:
    """Take a leaving user's name off the tasks that stay, within the caller's transaction.

    In the order of their ids, as whoever locks several does.
    """
    for statement in _DISOWN:
        await session.execute(text(statement), {"user": user_id})


# Who has a task now is not looked for: the id of an account that is gone is nobody's name.
_DISOWN = (
    f"""
    UPDATE tasks SET created_by = {GONE} WHERE id IN (
        SELECT id FROM tasks WHERE created_by = :user AND created_by <> owner_id
        ORDER BY id FOR NO KEY UPDATE
    )
    """,
    "UPDATE answers SET user_id = NULL WHERE user_id = :user",
    "UPDATE queues SET created_by = NULL WHERE created_by = :user",
)
