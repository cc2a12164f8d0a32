"""Deletes tasks, one or all of a pool, and restores them from the trash with their answers.

Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.auth import Principal, Right, require
from atelier.blobs import Blobs, garbage
from atelier.blobs.statements import READERS_SECONDS
from atelier.cache import Cache
from atelier.database import Database
from atelier.errors import Conflict, NotFound, PreconditionFailed
from atelier.observe import requester
from atelier.tasks import events
from atelier.tasks.fetch import inside
from atelier.tasks.models import Answer, Task
from atelier.tasks.pools import POOLS, Pool
from atelier.tasks.records import MISSING
from atelier.wire import trash
from atelier.wire.spaces import GONE
from atelier.wire.trash import Kind

ROWS = 10_000  # tasks deleted by one statement: none may run into the statement timeout

_DISCARDED = f"""
    INSERT INTO {garbage.TABLE} (key, after, intent)
    SELECT blob, clock_timestamp() + interval '{READERS_SECONDS} seconds', false FROM gone
    WHERE blob IS NOT NULL
"""
_ANSWERS = """
    to_jsonb(gone) || jsonb_build_object('answers', (
        SELECT coalesce(jsonb_agg(to_jsonb(answers) ORDER BY answers.id), '[]') FROM answers
        WHERE answers.task_id = gone.id
    ))
"""
# The views go by their foreign key, to garbage: they are made again of the bytes.
_KEPT = trash.kept(
    Kind.TASK,
    "$2",
    title="meta",
    blobs="array_remove(ARRAY[blob], NULL)",
    content=_ANSWERS,
)
_DELETE = f"""
    WITH gone AS (
        DELETE FROM tasks WHERE {{which}} RETURNING *
    ), left_behind AS ({{left_behind}}), announced AS (
        {events.announce(events.DELETED, "gone", "$2", sequence="sequence + 1")}
    )
    SELECT count(*) AS gone FROM gone
"""
# The owner is asked for twice: a task that was just moved away has been waited for, and is another
# space's by now.
_OF_POOL = f"""
    id IN (SELECT id FROM tasks WHERE {{pool}} = $1 ORDER BY id LIMIT {ROWS}) AND {{pool}} = $1
"""


def _delete(which: str, *, keep: bool) -> str:
    return _DELETE.format(which=which, left_behind=_KEPT if keep else _DISCARDED)


_ONE = {keep: _delete("id = $1", keep=keep) for keep in (True, False)}
_EMPTY = {
    (column, keep): _delete(_OF_POOL.format(pool=column), keep=keep)
    for column in POOLS
    for keep in (True, False)
}
_TASK, _ANSWER = (
    [column.name for column in table.__table__.columns if column.computed is None]
    for table in (Task, Answer)
)
# A task whose queue is gone comes back without one; its answers still tell which it was.
RESTORE = text(f"""
    WITH taken_out AS (
        {trash.TAKEN_OUT.format(kind=Kind.TASK, ids=":ids")}
    ), restored AS (
        INSERT INTO tasks ({", ".join(_TASK)}) OVERRIDING SYSTEM VALUE
        SELECT {", ".join(f"row.{name}" for name in _TASK)}
        FROM taken_out CROSS JOIN LATERAL jsonb_populate_record(
            CAST(NULL AS tasks),
            content || {trash.RENEWED} || jsonb_build_object('queue_id', (
                SELECT queues.id FROM queues
                WHERE queues.id = CAST(content ->> 'queue_id' AS bigint)
                    AND queues.space_id = taken_out.owner_id
            ))
        ) AS row
        RETURNING *
    ), answered AS (
        INSERT INTO answers ({", ".join(_ANSWER)}) OVERRIDING SYSTEM VALUE
        SELECT {", ".join(f"row.{name}" for name in _ANSWER)}
        FROM taken_out
            CROSS JOIN LATERAL jsonb_array_elements(content -> 'answers') AS answer
            CROSS JOIN LATERAL jsonb_populate_record(
                CAST(NULL AS answers),
                answer || jsonb_build_object(
                    'user_id', nullif({trash.person("answer", "user_id")}, {GONE})
                )
            ) AS row
    )
    {events.announce(events.RESTORED, "restored", ":actor")}
""")
_WANTED = "23505"  # unique_violation, PostgreSQL's code


async def delete(
    database: Database,
    blobs: Blobs,
    principal: Principal,
    task_id: int,
    expected: Callable[[str], bool],
    *,
    keep: bool,
) -> None:
    """Delete a task, and its image unless the trash keeps it.

    A kill at any point leaves nothing that is not collected later. `expected` judges the present
    entity tag (If-Match); False raises PreconditionFailed. Raises NotFound, and NotAllowed.
    """
    async with database.session() as session:
        task = await _locked(session, principal, task_id, expected)
        keys = [task.blob] if task.blob and not keep else []
        await inside(session)(_ONE[keep], task_id, requester.actor())
        await session.commit()
    # After a kill before this line the collector does it.
    await garbage.remove(database, blobs, keys)


async def _locked(
    session: AsyncSession, principal: Principal, task_id: int, expected: Callable[[str], bool]
) -> Task:
    task = await session.scalar(
        select(Task)
        .where(Task.id == task_id, Task.owner_id.in_(principal.roles))  # strangers lock nothing
        .with_for_update()
    )
    if task is None:
        raise NotFound(MISSING)
    require(principal, task.owner_id, Right.TASKS_WRITE, MISSING)
    if not expected(str(task.sequence)):
        raise PreconditionFailed("The task has changed since this entity tag.")
    return task


async def empty(session: AsyncSession, pool: Pool, *, keep: bool) -> None:
    """Delete every task of a pool in the caller's transaction, which holds off new ones."""
    fetch, statement = inside(session), _EMPTY[pool.column, keep]
    while (row := await fetch(statement, pool.id, requester.actor())) and row["gone"]:
        pass


async def restore(session: AsyncSession, _: Cache, ids: Collection[int]) -> Sequence[str]:
    """Restore tasks from the trash within the caller's transaction; no keys of the cache.

    The caller has judged the right, and locked what is restored. Raises Conflict for a task whose
    stored picture is gone, or in its queue again.
    """
    try:
        await session.execute(RESTORE, {"ids": list(ids), "actor": requester.actor()})
    except IntegrityError as error:
        if getattr(error.orig, "sqlstate", None) == _WANTED:
            raise Conflict("The picture of a task has another one in its queue by now.") from error
        raise Conflict("The picture of a task is not there; restore it first.") from error
    return ()
