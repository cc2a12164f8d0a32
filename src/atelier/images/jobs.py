"""Offers pictures to the image processor: after the commit, and again if a job was lost."""

from __future__ import annotations

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.events.messages import ProcessImage
from atelier.events.offers import offer, patience
from atelier.images.models import QUEUED, Image
from atelier.imaging.recipe import Recipe
from atelier.observe import tracing
from atelier.queue import Lanes, Queue
from atelier.settings import Settings

REOFFER_BATCH = 500  # rows per round: a wiped queue refills at this pace, without one long lock


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


async def reoffer(session: AsyncSession, settings: Settings, process: Lanes, store: Queue) -> int:
    """Send again the jobs of queued rows that are on no queue; returns how many."""
    now = func.clock_timestamp()
    before = now - await patience(settings.reconcile_seconds, *process.queues, store)
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
