"""The archiver's work: store a processed picture's renditions and commit its row, fenced."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.blobs import Blobs, garbage, new_keys
from atelier.cache import Cache
from atelier.database import Database
from atelier.events import outbox
from atelier.events.messages import Outcome, RejectImage, StoreImage, utcnow
from atelier.images import events, makers
from atelier.images.models import FAILED, QUEUED, READY, Image
from atelier.images.records import cache_key
from atelier.imaging.recipe import Rendition
from atelier.observe.metrics import IMAGES, reasons

INTENT = timedelta(minutes=15)  # far above the time in which a batch is stored
SUFFIXES = {"JPEG": "jpg", "PNG": "png"}

log = logging.getLogger(__name__)


async def store(
    database: Database, blobs: Blobs, cache: Cache, outcomes: Sequence[Outcome]
) -> None:
    """Commit every outcome at most once: blobs first, then all rows and events together.

    An outcome whose row is gone, has another version or is already ready changes nothing.
    """
    written = await _write(database, blobs, outcomes)
    async with database.session() as session:
        current = await _lock(session, outcomes)
        changed = [
            image
            for outcome in outcomes
            if (image := await _apply(session, current, outcome, written))
        ]
        keys = [cache_key(image.id) for image in changed]
        # Until the commit is visible, readers must not put the old rows back into the cache.
        await cache.fence(keys)
        await session.commit()
    for image in changed:
        _report(image)
    await cache.drop(keys)


def _report(image: Image) -> None:
    """Count the outcome of an image; for a failure the log says why."""
    if not image.error:
        IMAGES.labels(image.status, "").inc()
        return
    reason, detail = image.error["reason"], image.error["detail"]
    IMAGES.labels(image.status, reasons(reason)).inc()
    log.warning("image %d failed: %s: %s", image.id, reason, detail)


async def _write(
    database: Database, blobs: Blobs, outcomes: Sequence[Outcome]
) -> dict[int, list[dict[str, Any]]]:
    """Write the renditions of each outcome under fresh keys.

    Returns the rendition records by the outcome's identity.
    """
    records: dict[int, list[dict[str, Any]]] = {}
    pictures: list[tuple[str, Rendition]] = []
    for outcome in outcomes:
        if isinstance(outcome, StoreImage):
            keys = new_keys(
                "images", [f"{r.name}.{SUFFIXES[r.format]}" for r in outcome.renditions]
            )
            keyed = list(zip(keys, outcome.renditions, strict=True))
            records[id(outcome)] = [_record(key, rendition) for key, rendition in keyed]
            pictures += keyed
    if pictures:
        # A kill between the writes and the commit leaves blobs without a row: the collector
        # removes them when the intent has expired.
        await garbage.intend(database, [key for key, _ in pictures], INTENT)
        await asyncio.gather(*(blobs.put(key, rendition.data) for key, rendition in pictures))
    return records


def _record(key: str, rendition: Rendition) -> dict[str, Any]:
    return {
        "name": rendition.name,
        "width": rendition.width,
        "height": rendition.height,
        "size": len(rendition.data),
        "format": rendition.format,
        "blob": key,
    }


async def _lock(session: AsyncSession, outcomes: Sequence[Outcome]) -> dict[int, Image]:
    """The rows of the outcomes, locked in order of their ids so that archivers cannot deadlock."""
    ids = {outcome.image_id for outcome in outcomes}
    rows = await session.scalars(
        select(Image).where(Image.id.in_(ids)).order_by(Image.id).with_for_update()
    )
    images = {image.id: image for image in rows}
    await makers.fill_in(session, images.values())
    return images


async def _apply(
    session: AsyncSession,
    current: dict[int, Image],
    outcome: Outcome,
    written: dict[int, list[dict[str, Any]]],
) -> Image | None:
    image = current.get(outcome.image_id)
    if image is None or image.version != outcome.version or image.status == READY:
        return None
    if isinstance(outcome, RejectImage):
        if image.status != QUEUED:
            return None
        image.status, image.error = FAILED, {"reason": outcome.reason, "detail": outcome.detail}
        _announce(session, image, events.FAILED, outcome.traceparent)
        return image
    records = written[id(outcome)]
    await garbage.discard(session, [old["blob"] for old in image.renditions])
    await garbage.claim(session, [record["blob"] for record in records])
    image.status, image.error, image.renditions = READY, None, records
    _announce(session, image, events.PROCESSED, outcome.traceparent)
    return image


def _announce(session: AsyncSession, image: Image, type_: str, traceparent: str | None) -> None:
    image.sequence += 1
    image.updated_at = utcnow()
    outbox.record(
        session,
        type_,
        events.subject(image.id),
        image.sequence,
        events.state(image),
        traceparent,
        space_id=image.owner_id,
    )
