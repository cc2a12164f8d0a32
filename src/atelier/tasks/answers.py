"""Answers to tasks: whether one is as its queue wants it, and corrections."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.auth import Principal, Right, may, require
from atelier.database import Database
from atelier.errors import Conflict, NotFound, PreconditionFailed
from atelier.observe import requester
from atelier.tasks import events, forms, queues
from atelier.tasks.fetch import Fetch, inside
from atelier.tasks.models import Answer, Task
from atelier.tasks.records import MISSING, SELECT_ONE

_CORRECT = text("UPDATE answers SET result = CAST(:result AS jsonb) WHERE id = :answer")
_ANNOUNCE = f"""
    WITH changed AS (UPDATE tasks SET sequence = sequence + 1 WHERE id = $1 RETURNING *)
    {
    events.announce(
        events.ANSWERED,
        "changed",
        "$2",
        more="'completed_by', $3::bigint, 'result', $4::jsonb, 'former', $5::jsonb",
    )
}
    RETURNING id
"""


class NoAnswer(Conflict):
    """This task has no answer yet."""

    slug = "no-answer"


async def check(fetch: Fetch, principal: Principal, task_id: int, result: object) -> None:
    """Judge an answer by the form of its task's queue; strangers are told nothing here.

    Raises Invalid.
    """
    row = await queues.form_of(fetch, task_id)
    if row is not None and may(principal, row["owner_id"], Right.TASKS_WORK):
        forms.check(orjson.loads(row["form"]), result)


async def correct(
    database: Database,
    principal: Principal,
    task_id: int,
    result: object,
    expected: Callable[[str], bool],
) -> Mapping[str, Any]:
    """Put another answer in place of the last one; the event keeps the former. Returns the row.

    Raises NotFound, NotAllowed for who neither gave it nor is an editor, PreconditionFailed,
    NoAnswer, and Invalid for what the form of the queue does not take.
    """
    async with database.session() as session:
        task, answer = await _locked(session, principal, task_id)
        if not expected(str(task.sequence)):
            raise PreconditionFailed("The task has changed since this entity tag.")
        if answer is None:
            raise NoAnswer("Take the task and complete it.")
        if answer.user_id != principal.user_id:
            require(principal, task.owner_id, Right.TASKS_WRITE, MISSING)
        fetch = inside(session)
        await check(fetch, principal, task_id, result)
        new, former = _json(result), _json(answer.result)
        if new != former:
            await session.execute(_CORRECT, {"result": new, "answer": answer.id})
            await fetch(_ANNOUNCE, task_id, requester.actor(), answer.user_id, new, former)
        row = await fetch(SELECT_ONE, [task_id])
        await session.commit()
    if row is None:  # it is locked
        raise NotFound(MISSING)
    return row


def _json(value: object) -> str | None:
    """The text of an answer, the same whatever the order of names in it."""
    return None if value is None else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


async def _locked(
    session: AsyncSession, principal: Principal, task_id: int
) -> tuple[Task, Answer | None]:
    mine = select(Task).where(Task.id == task_id, Task.owner_id.in_(list(principal.roles)))
    task = await session.scalar(mine.with_for_update())
    if task is None:
        raise NotFound(MISSING)
    require(principal, task.owner_id, Right.TASKS_WORK, MISSING)
    answers = select(Answer).where(Answer.task_id == task_id)
    return task, await session.scalar(answers.order_by(Answer.id.desc()).limit(1))
