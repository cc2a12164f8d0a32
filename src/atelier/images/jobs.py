"""Offers pictures to the image processor: after the commit, and again if a job was lost."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.errors import AtelierError
from atelier.events.messages import ProcessImage, encode
from atelier.images.models import QUEUED, Image
from atelier.imaging.recipe import Recipe
from atelier.observe import tracing
from atelier.queue import Lanes, Queue
from atelier.settings import Settings

REOFFER_BATCH = 500  # rows per round: a wiped queue refills at this pace, without one long lock
CLOCK_SLACK_SECONDS = 2  # between the looks at the queue's clock and at the database's


def recipe(settings: Settings, description: str) -> Recipe:
    """The renditions to make of a picture with this description."""
    font, size = settings.caption_font, settings.caption_size
    return Recipe(sizes=settings.sizes, caption=description, caption_size=size, caption_font=font)


def process_job(settings: Settings, image: Image, picture: bytes | None = None) -> ProcessImage:
    """The job that renders `image`; it carries `picture` if that is given and small enough."""
    small = picture if picture is not None and len(picture) <= settings.inline_limit else None
    return ProcessImage(
        image_id=image.id,
        version=image.version,
        description=image.description,
        received_at=image.received_at,
        recipe=recipe(settings, image.description),
        blob=image.blob,
        picture=small,
        traceparent=tracing.traceparent(),
    )


async def offer(lanes: Lanes, space_id: int, job: ProcessImage) -> bool:
    """Send a job whose row is committed, as one of its space.

    False if the queue does not take it: the reconciler will offer it again.
    """
    try:
        await lanes.send(space_id, encode(job))
    except AtelierError:
        return False
    return True


async def reoffer(session: AsyncSession, settings: Settings, process: Lanes, store: Queue) -> int:
    """Send again the jobs of queued rows that are on no queue; returns how many.

    Jobs leave a queue only when they are done, and queues are read in order, so a row that was
    offered before the oldest outstanding job of every queue has lost its own. Rows behind that
    job are still waiting for their turn.
    """
    ages = [await queue.oldest() + CLOCK_SLACK_SECONDS for queue in (*process.queues, store)]
    now = func.clock_timestamp()
    before = now - timedelta(seconds=max(settings.reconcile_seconds, *ages))
    lost = (
        select(Image.id)
        .where(Image.status == QUEUED, Image.offered_at < before)
        .order_by(Image.offered_at)
        .limit(REOFFER_BATCH)
        .with_for_update(skip_locked=True)
    )
    statement = update(Image).where(Image.id.in_(lost)).values(offered_at=now).returning(Image)
    images = (await session.scalars(statement)).all()
    await session.commit()
    sent = [await offer(process, image.owner_id, process_job(settings, image)) for image in images]
    return sum(sent)
