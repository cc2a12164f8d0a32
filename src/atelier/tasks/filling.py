"""Makes tasks of stored pictures: one, or all that a filter finds, each once in its queue.

Such a task has no bytes of its own. While it is there its picture cannot be deleted: answers are
somebody's work, and do not vanish beside something else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.auth import Principal, Right, require
from atelier.database import Database
from atelier.errors import Conflict, NotFound, Unauthenticated
from atelier.http import allowance
from atelier.observe import requester
from atelier.tasks import events, queues
from atelier.tasks.fetch import inside
from atelier.tasks.records import COLUMNS
from atelier.tasks.service import SHARDS
from atelier.wire.allowance import Allowance
from atelier.wire.searches import containing
from atelier.wire.spaces import gone

BATCH = 2_500  # pictures looked at in one transaction: well under a second
NO_PICTURE = "There is no such picture."

_BY_TAG = f"""
    SELECT id FROM (
        SELECT image_id FROM image_tags WHERE owner_id = $1 AND tag = $3 AND image_id > $2
    ) AS tagged JOIN images ON id = image_id
    WHERE status <> 'failed' ORDER BY image_id LIMIT {BATCH}
"""
_BY_TEXT = f"""
    SELECT id FROM images WHERE owner_id = $1 AND id > $2 AND status <> 'failed'
        AND (title ILIKE $3 OR description ILIKE $3)
    ORDER BY id LIMIT {BATCH}
"""
# The counters after the rows, the user's before the total's. A picture that failed shows nothing;
# one that is chosen is held, or it might be moved to another space meanwhile.
_FILL = f"""
    WITH chosen AS MATERIALIZED (
        SELECT id, format, media_type, sha256 FROM images
        WHERE owner_id = $1 AND id = any($6::bigint[]) AND status <> 'failed'
        ORDER BY id FOR SHARE
    ), made AS (
        INSERT INTO tasks (
            owner_id, created_by, queue_id, meta, free, image_id, format, media_type, size, sha256,
            sequence, created_at
        )
        SELECT $1, $2, $3, $4, true, id, format, media_type, 0, sha256, 1, clock_timestamp()
        FROM chosen ORDER BY id
        ON CONFLICT (image_id, queue_id) WHERE image_id IS NOT NULL DO NOTHING
        RETURNING *
    ), maker AS (
        UPDATE users SET tasks_created = tasks_created + (SELECT count(*) FROM made)
        WHERE id = $2 RETURNING id
    ), counted AS (
        INSERT INTO task_totals AS total (shard, created)
        SELECT id % {SHARDS}, (SELECT count(*) FROM made) FROM maker
        ON CONFLICT (shard) DO UPDATE SET created = total.created + excluded.created
    ), announced AS (
        {events.announce(events.CREATED, "made", "$5")}
    )
"""
_MANY = f"""
    {_FILL} SELECT (SELECT count(*) FROM chosen) AS seen, (SELECT count(*) FROM made) AS added,
        (SELECT id FROM maker) AS maker
"""
_ONE = f"{_FILL} SELECT {COLUMNS} FROM made WHERE EXISTS (SELECT FROM maker)"
_SEEN = "SELECT count(*) AS number FROM images WHERE owner_id = $1 AND id = any($2::bigint[])"
_IMAGE_SPACE = "SELECT owner_id FROM images WHERE id = $1"


class AlreadyQueued(Conflict):
    """The queue has a task of this picture."""

    slug = "already-queued"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which pictures to make tasks of: exactly one of the three is given."""

    tag: str | None = None
    q: str | None = None
    ids: Sequence[int] | None = None


async def fill(
    database: Database,
    principal: Principal,
    queue: Mapping[str, Any],
    choice: Choice,
    *,
    meta: str,
    allowed: Allowance,
) -> tuple[int, int]:
    """Put pictures of the queue's space into it; returns how many came and how many were there.

    In batches, each with its own commit: after a kill the same call adds the rest. Raises NotFound
    for ids that are not pictures of the space, Forbidden over its quota, and as searches do
    TooManyRequests and TooSlow.
    """
    space_id = queue["space_id"]
    await allowance.begin(database, allowed, space_id)
    added = seen = 0
    async for ids in _batches(database, principal.user_id, space_id, choice):
        async with database.session() as session:
            row = await _put(session, principal, queue, ids, meta=meta, allowed=allowed)
            await session.commit()
        added, seen = added + row["added"], seen + row["seen"]
    return added, seen - added


async def into(
    database: Database, allowed: Allowance, principal: Principal, queue_id: int
) -> Callable[[AsyncSession, Sequence[int]], Awaitable[int]]:
    """What puts pictures into a queue within a transaction, and returns how many were not there.

    Raises NotFound and NotAllowed of the queue; later NotFound for ids that are not pictures of
    its space, or have failed, and Forbidden over its quota.
    """
    queue = await queues.find(database.fetchrow, principal, queue_id, Right.TASKS_WRITE)
    require(principal, queue["space_id"], Right.IMAGES_READ, NO_PICTURE)
    await allowance.begin(database, allowed, queue["space_id"])

    async def put(session: AsyncSession, ids: Sequence[int]) -> int:
        row = await _put(session, principal, queue, ids, meta="", allowed=allowed)
        if row["seen"] < len(ids):
            raise NotFound(NO_PICTURE)
        return int(row["added"])

    return put


async def _put(
    session: AsyncSession,
    principal: Principal,
    queue: Mapping[str, Any],
    ids: Sequence[int],
    *,
    meta: str,
    allowed: Allowance,
) -> Mapping[str, Any]:
    """Make the tasks, and judge the quota; `added` and `seen`."""
    space_id = queue["space_id"]
    values = space_id, principal.user_id, queue["id"], meta, requester.actor(), list(ids)
    row: Mapping[str, Any] = await _made(session, _MANY, values)
    await allowance.confirm(session, allowed, space_id, 0, row["added"])
    return row


async def _batches(
    database: Database, user_id: int, space_id: int, choice: Choice
) -> AsyncIterator[list[int]]:
    """The pictures that are chosen, in order. Raises NotFound, TooManyRequests and TooSlow."""
    if choice.ids is not None:
        ids = sorted(set(choice.ids))
        found = await database.fetchrow(_SEEN, space_id, ids)
        if found is None or found["number"] < len(ids):
            raise NotFound(NO_PICTURE)
        yield ids
        return
    after, ids = 0, []
    while not after or len(ids) == BATCH:
        if choice.tag is not None:
            rows = await database.fetch(_BY_TAG, space_id, after, choice.tag)
        else:
            pattern = containing(choice.q or "")
            rows = await database.search(user_id, _BY_TEXT, space_id, after, pattern)
        ids = [row["id"] for row in rows]
        if not ids:
            return
        yield ids
        after = ids[-1]


async def create(
    database: Database,
    principal: Principal,
    *,
    space_id: int,
    queue_id: int | None,
    image_id: int,
    meta: str,
    allowed: Allowance,
    before_commit: Callable[[AsyncSession, Mapping[str, Any]], Awaitable[None]],
) -> None:
    """Make a task of one stored picture of a space.

    Raises NotFound for what is no picture of the space, AlreadyQueued for one that its queue has,
    and Forbidden over the quota.
    """
    found = await database.fetchrow(_IMAGE_SPACE, image_id)
    if found is None or found["owner_id"] != space_id:
        raise NotFound(NO_PICTURE)
    require(principal, space_id, Right.IMAGES_READ, NO_PICTURE)
    await allowance.begin(database, allowed, space_id)
    values = space_id, principal.user_id, queue_id, meta, requester.actor(), [image_id]
    async with database.session() as session:
        row = await _made(session, _ONE, values)
        await before_commit(session, row)
        await allowance.confirm(session, allowed, space_id, 0)
        await session.commit()


async def _made(session: AsyncSession, statement: str, values: tuple[Any, ...]) -> Any:
    try:
        row = await inside(session)(statement, *values)
    except IntegrityError as error:
        raise gone() from error
    if row is None:
        raise AlreadyQueued(
            "The queue has a task of this picture, or the picture cannot be shown."
        )
    if row.get("maker", True) is None:
        raise Unauthenticated("The account is gone.")
    return row
