"""Views of tasks: pictures that every browser shows, made once of what does not show.

A row of `task_views` is a view that is wanted, made or failed. It is made by the image processor
of bytes that never change, so whichever outcome comes first is right, and later ones change
nothing. Whoever deletes a task deletes its view: a trigger lists the blob as garbage.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.blobs import Blobs, garbage, new_key
from atelier.database import Database
from atelier.events.messages import (
    NO_IMAGE,
    Outcome,
    ProcessImage,
    RejectImage,
    StoreImage,
    utcnow,
)
from atelier.events.offers import offer, patience
from atelier.imaging.recipe import Recipe, Rendition
from atelier.observe import tracing
from atelier.queue import Lanes, Queue
from atelier.tasks.fetch import Fetch
from atelier.tasks.models import TaskView

NAME = "2048x2048"  # the box that a view fits into; the size is that of a large screen
RECIPE = Recipe(sizes=(NAME,), gray=False, flat=True)
MEDIA_TYPE = "image/jpeg"
INTENT = timedelta(minutes=15)  # far above the time in which a batch is stored
REOFFER_BATCH = 500  # rows per round: a wiped queue refills at this pace, without one long lock

_WANT = """
    INSERT INTO task_views (task_id, offered_at) VALUES ($1, clock_timestamp())
    ON CONFLICT DO NOTHING RETURNING task_id
"""
_FIND = (
    "SELECT blob, size, made_at, error ->> 'detail' AS error FROM task_views WHERE task_id = $1"
)
_LOST = f"""
    WITH lost AS MATERIALIZED (
        SELECT task_id FROM task_views
        WHERE blob IS NULL AND error IS NULL AND offered_at < clock_timestamp() - $1::interval
        ORDER BY offered_at LIMIT {REOFFER_BATCH} FOR UPDATE SKIP LOCKED
    )
    UPDATE task_views SET offered_at = clock_timestamp() FROM lost, tasks
    WHERE task_views.task_id = lost.task_id AND tasks.id = lost.task_id
    RETURNING tasks.id, tasks.owner_id, coalesce(
        tasks.blob, (SELECT images.blob FROM images WHERE images.id = tasks.image_id)
    ) AS blob
"""
_DROP_LOST = "DELETE FROM task_views WHERE blob = any($1::text[]) RETURNING task_id"

log = logging.getLogger(__name__)


async def want(fetch: Fetch, task_id: int) -> bool:
    """Mark the view of a task as wanted; true if it was not before, so that its job is due."""
    return await fetch(_WANT, task_id) is not None


async def find(database: Database, task_id: int) -> Mapping[str, Any] | None:
    """The view of a task (blob, size, made_at, error), or None if nobody has wanted it."""
    return await database.fetchrow(_FIND, task_id)


async def send(lanes: Lanes, space_id: int, task_id: int, blob: str) -> bool:
    """Offer a view that is marked as wanted, after the commit.

    Never with the picture inside: tasks may come much faster than views are made.
    """
    job = ProcessImage(
        image_id=NO_IMAGE,
        version=1,
        description="",
        received_at=utcnow(),
        recipe=RECIPE,
        blob=blob,
        traceparent=tracing.traceparent(),
        task_id=task_id,
    )
    return await offer(lanes, space_id, job)


async def reoffer(database: Database, seconds: float, process: Lanes, store: Queue) -> int:
    """Send again the jobs of wanted views that are on no queue; returns how many."""
    lost = await database.fetch(_LOST, await patience(seconds, *process.queues, store))
    return sum([await send(process, row["owner_id"], row["id"], row["blob"]) for row in lost])


async def store(database: Database, blobs: Blobs, outcomes: Sequence[Outcome]) -> None:
    """Commit what became of views: blobs first, then all rows together.

    An outcome whose row is gone or has its blob changes nothing; what was written for it is
    collected.
    """
    made = await _write(database, blobs, outcomes)
    async with database.session() as session:
        waiting = await _lock(session, outcomes)
        for outcome in outcomes:
            view = waiting.get(outcome.task_id)
            if view is not None and view.blob is None:
                await _apply(session, view, outcome, made.get(id(outcome)))
        await session.commit()


async def _write(
    database: Database, blobs: Blobs, outcomes: Iterable[Outcome]
) -> dict[int, tuple[str, Rendition]]:
    """Write the view of each outcome under a fresh key; both by the outcome's identity."""
    made = {
        id(outcome): (new_key("tasks", "view.jpg"), outcome.renditions[0])
        for outcome in outcomes
        if isinstance(outcome, StoreImage)
    }
    await garbage.intend(database, [key for key, _ in made.values()], INTENT)
    await asyncio.gather(*(blobs.put(key, view.data) for key, view in made.values()))
    return made


async def _lock(
    session: AsyncSession, outcomes: Iterable[Outcome]
) -> Mapping[int | None, TaskView]:
    """The rows of the outcomes, locked in order so that archivers cannot deadlock.

    Those of the tasks are not locked: a hand-out would pass them over.
    """
    rows = await session.scalars(
        select(TaskView)
        .where(TaskView.task_id.in_({outcome.task_id for outcome in outcomes}))
        .order_by(TaskView.task_id)
        .with_for_update()
    )
    return {view.task_id: view for view in rows}


async def _apply(
    session: AsyncSession, view: TaskView, outcome: Outcome, made: tuple[str, Rendition] | None
) -> None:
    view.made_at = utcnow()
    if made is not None:
        key, rendition = made
        await garbage.claim(session, [key])
        view.blob, view.size, view.error = key, len(rendition.data), None
    elif isinstance(outcome, RejectImage):
        view.error = {"reason": outcome.reason, "detail": outcome.detail}
        log.warning(
            "the view of task %d failed: %s: %s", view.task_id, outcome.reason, outcome.detail
        )


async def drop_lost(database: Database, missing: Collection[str]) -> int:
    """Forget every view whose blob is one of these: the next who asks for it has it made anew.

    Returns how many.
    """
    return len(await database.fetch(_DROP_LOST, list(missing)))
