"""The use cases of pictures: create, change, retry.

One use case, one transaction, an explicit commit. Knows no HTTP; dependencies are arguments.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.auth import Principal, Right, require
from atelier.blobs import Blobs, garbage, new_key
from atelier.cache import Cache
from atelier.database import Database
from atelier.errors import (
    AtelierError,
    Conflict,
    NotFound,
    PreconditionFailed,
    Unauthenticated,
)
from atelier.events import outbox
from atelier.events.messages import utcnow
from atelier.http import allowance
from atelier.images import events, makers
from atelier.images.models import FAILED, QUEUED, Image
from atelier.images.records import MISSING, cache_key
from atelier.imaging.identify.probe import Probe, probe
from atelier.imaging.recipe import Limits
from atelier.observe import requester
from atelier.settings import Settings
from atelier.wire.spaces import GONE

_FORGET = f"""
    WITH gone AS (
        DELETE FROM images WHERE owner_id = :owner RETURNING *
    ), announced AS (
        {outbox.INSERT}
        SELECT '{events.DELETED}', 'images/' || id, sequence + 1, {events.state_of_row()},
            owner_id, :actor
        FROM gone
    )
    INSERT INTO blob_garbage (key, after, intent)
    SELECT blob, clock_timestamp(), false FROM gone
    UNION ALL
    SELECT r ->> 'blob', clock_timestamp(), false
    FROM gone, jsonb_array_elements(gone.renditions) AS r
"""

_HALF_MISSING = """
    SELECT id FROM images
    WHERE NOT blob = any($1::text[])
      AND EXISTS (
        SELECT FROM jsonb_array_elements(renditions) AS r
        WHERE r ->> 'blob' = any($1::text[])
      )
"""
INTENT = timedelta(hours=1)  # far above the time in which a received upload is committed
DUPLICATES = 20  # pictures named in the answer to an upload
WORDS = ("title", "description", "tags")
EXTENSIONS = {
    "JPEG": "jpg",
    "PNG": "png",
    "WEBP": "webp",
    "GIF": "gif",
    "BMP": "bmp",
    "TIFF": "tiff",
    "HEIC": "heic",
    "AVIF": "avif",
}


@dataclass(frozen=True, slots=True)
class Original:
    """An uploaded file: its bytes in memory or spooled at a path, already hashed and counted."""

    content: bytes | Path
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a picture, already normalised; None leaves a field as it is."""

    title: str | None = None
    description: str | None = None
    tags: list[str] | None = None


async def create(
    database: Database,
    blobs: Blobs,
    settings: Settings,
    probers: Executor,
    *,
    space_id: int,
    created_by: int,
    original: Original,
    words: Words,
    before_commit: Callable[[AsyncSession, Image], Awaitable[None]],
) -> Image:
    """Store an upload: probe it, write it to disk, then commit its row and `image.created`.

    Raises Unsupported if it is no picture, Invalid if it is too large and Forbidden if it is over
    the quota of the space. The caller has judged the right, and sends the job.
    """
    received_at, allowed = utcnow(), allowance.allowance_of(settings)
    await allowance.require_room(database, allowed, space_id, original.size)
    limits = Limits(pixels=settings.pixel_limit)
    seen = await asyncio.get_running_loop().run_in_executor(
        probers, _probe, original.content, limits
    )
    key = new_key("images", f"original.{EXTENSIONS[seen.format]}")
    await garbage.intend(database, [key], INTENT)
    await blobs.put(key, original.content)
    image = _new_image(space_id, created_by, key, original, seen, words, received_at)
    async with database.session() as session:
        session.add(image)
        try:
            await session.flush()
        except IntegrityError as error:
            raise _gone(space_id, created_by) from error
        _announce(session, events.CREATED, image)
        await garbage.claim(session, [key])
        await before_commit(session, image)
        await allowance.confirm(session, allowed, space_id, original.size)
        await session.commit()
    return image


async def duplicates(session: AsyncSession, image: Image) -> list[int]:
    """The newest pictures of the same space with the same content, at most `DUPLICATES`."""
    same = select(Image.id).where(
        Image.owner_id == image.owner_id, Image.sha256 == image.sha256, Image.id != image.id
    )
    return [*await session.scalars(same.order_by(Image.id.desc()).limit(DUPLICATES))]


def _gone(space_id: int, user_id: int) -> AtelierError:
    """What has happened to the space since the right in it was judged."""
    own = space_id == user_id
    return Unauthenticated("The account is gone.") if own else NotFound("There is no such space.")


def _probe(content: bytes | Path, limits: Limits) -> Probe:
    return probe(content if isinstance(content, bytes) else content.read_bytes(), limits)


def _new_image(
    space_id: int,
    created_by: int,
    key: str,
    original: Original,
    seen: Probe,
    words: Words,
    received_at: datetime,
) -> Image:
    return Image(
        owner_id=space_id,
        created_by=created_by,
        title=words.title,
        description=words.description or "",
        tags=words.tags or [],
        blob=key,
        format=seen.format,
        media_type=seen.media_type,
        width=seen.width,
        height=seen.height,
        size=original.size,
        sha256=original.sha256,
        details=_as_stored(seen.metadata),
        status=QUEUED,
        error=None,
        renditions=[],
        version=1,
        sequence=1,
        received_at=received_at,
        updated_at=received_at,
        offered_at=func.clock_timestamp(),
    )


def _as_stored(value: Any) -> Any:
    """The value with its keys in `jsonb`'s order: POST and later reads return the same bytes."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
        return {key: _as_stored(value[key]) for key in keys}
    return [_as_stored(item) for item in value] if isinstance(value, list | tuple) else value


async def change(
    database: Database,
    cache: Cache,
    *,
    principal: Principal,
    image_id: int,
    words: Words,
    expected: Callable[[str], bool],
) -> tuple[Image, bool]:
    """Change the words of a picture; returns the row, and true if it must be rendered again.

    Rendering is due when the description has changed. Equal words change nothing: no event, the
    same entity tag. `expected` judges the present entity tag (If-Match); False raises
    PreconditionFailed.
    """
    async with database.session() as session:
        image = await _locked(session, principal, image_id, expected)
        given = {field: value for field in WORDS if (value := getattr(words, field)) is not None}
        changed = {
            field: value for field, value in given.items() if value != getattr(image, field)
        }
        if not changed:
            return image, False
        for field, value in changed.items():
            setattr(image, field, value)
        await _update(session, cache, image, again="description" in changed)
    await cache.drop([cache_key(image.id)])
    return image, "description" in changed


async def retry(
    database: Database,
    cache: Cache,
    *,
    principal: Principal,
    image_id: int,
    expected: Callable[[str], bool],
) -> Image:
    """Queue a failed picture again; the caller sends the job.

    Raises Conflict for one that has not failed.
    """
    async with database.session() as session:
        image = await _locked(session, principal, image_id, expected)
        if image.status != FAILED:
            raise Conflict(
                f"This image is {image.status}; only a failed one can be retried.",
                slug="not-failed",
            )
        await _update(session, cache, image, again=True)
    await cache.drop([cache_key(image.id)])
    return image


async def render_anew(database: Database, cache: Cache, missing: Collection[str]) -> int:
    """Queue every picture that lacks one of these blobs as a rendition, but has its original.

    Returns how many.
    """
    found = await database.fetch(_HALF_MISSING, list(missing))
    for row in found:
        await queue_again(database, cache, row["id"], lambda _: True)
    return len(found)


async def queue_again(
    database: Database, cache: Cache, image_id: int, due: Callable[[Image], bool]
) -> Image | None:
    """Queue a picture for rendering, if it is still there and `due`; its row.

    The reconciler sends the job, unless the caller does.
    """
    async with database.session() as session:
        image = await session.get(Image, image_id, with_for_update=True)
        if image is None or not due(image):
            return None
        await makers.fill_in(session, [image])
        await _update(session, cache, image, again=True)
    await cache.drop([cache_key(image_id)])
    return image


async def _update(session: AsyncSession, cache: Cache, image: Image, *, again: bool) -> None:
    """Commit a change with its event; `again` queues the picture for rendering."""
    now = utcnow()
    image.sequence, image.updated_at = image.sequence + 1, now
    if again:
        image.version, image.status, image.error, image.offered_at = (
            image.version + 1,
            QUEUED,
            None,
            func.clock_timestamp(),
        )
    _announce(session, events.UPDATED, image)
    await cache.fence([cache_key(image.id)])
    await session.commit()


async def forget(session: AsyncSession, space_id: int) -> None:
    """Delete every picture of one space within the caller's transaction.

    One statement for any number. The files become garbage with its commit. Cached records need no
    fence: only its members could ask for them, and their roles end with the space.
    """
    await session.execute(text("SET LOCAL statement_timeout = 0"))
    await session.execute(text(_FORGET), {"owner": space_id, "actor": requester.actor()})


async def _locked(
    session: AsyncSession,
    principal: Principal,
    image_id: int,
    expected: Callable[[str], bool],
) -> Image:
    """The row to be changed, locked. Raises NotFound, NotAllowed and PreconditionFailed."""
    # A stranger must not lock the row, nor wait for who does: that would tell that it exists.
    visible = Image.owner_id.in_(list(principal.roles))
    image = await session.scalar(
        select(Image).where(Image.id == image_id, visible).with_for_update()
    )
    if image is None:
        raise NotFound(MISSING)
    require(principal, image.owner_id, Right.IMAGES_WRITE, MISSING)
    await makers.fill_in(session, [image])
    if not expected(str(image.sequence)):
        raise PreconditionFailed("The image has changed since this entity tag.")
    return image


def _announce(session: AsyncSession, type_: str, image: Image) -> None:
    outbox.record(
        session,
        type_,
        events.subject(image.id),
        image.sequence,
        events.state(image),
        space_id=image.owner_id,
    )


async def disown(session: AsyncSession, user_id: int) -> None:
    """Take a leaving user's name off the pictures that stay, within the caller's transaction.

    In the order of their ids, as whoever locks several does.
    """
    await session.execute(text(_DISOWN), {"user": user_id})


_DISOWN = f"""
    UPDATE images SET created_by = {GONE} WHERE id IN (
        SELECT id FROM images WHERE created_by = :user AND created_by <> owner_id
        ORDER BY id FOR NO KEY UPDATE
    )
"""
