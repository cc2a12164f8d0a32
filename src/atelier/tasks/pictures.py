"""Serves the picture of a task: as it is stored, or its view."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import asyncpg
from starlette.requests import Request
from starlette.responses import Response

from atelier.blobs import Blobs
from atelier.errors import NotFound
from atelier.http.conditional import picture_response
from atelier.http.resources import Resources
from atelier.http.sendfile import content_of
from atelier.tasks import views
from atelier.tasks.formats import HEAD_BYTES, SVG
from atelier.tasks.records import MISSING
from atelier.tasks.shown import BY_HEADER, Showing, showing

RETRY_SECONDS = 1  # a view is usually there by then


def stored(request: Request, res: Resources, row: Mapping[str, Any]) -> Response:
    """The picture as it was sent; `row` is that of the task."""
    name = row["blob"].rpartition("/")[2]
    return picture_response(
        request,
        content_of(res.blobs, row["blob"], row["size"], res.settings.accel_prefix),
        media_type=row["media_type"],
        etag=_etag(row["blob"]),
        modified=row["created_at"],
        filename=f"task-{row['id']}.{name.rpartition('.')[2]}",
        attachment=row["media_type"] == SVG.media_type,
    )


async def shown(request: Request, res: Resources, row: Mapping[str, Any]) -> Response:
    """The picture as every browser shows it.

    Raises NotFound: `not-ready` while its view may still come, `processing-failed` when it will
    not.
    """
    view = await views.find(res.database, row["id"])
    if view is None:
        how = await _showing(res, row)
        if how is Showing.STORED:
            return stored(request, res, row)
        if how is Showing.NEVER:
            raise _failed(f"Of a picture in the format {row['format']} no view can be made here.")
        await _want(res, row)
        raise _not_ready()
    if view["blob"] is None:
        raise _failed(view["error"]) if view["error"] is not None else _not_ready()
    return picture_response(
        request,
        content_of(res.blobs, view["blob"], view["size"], res.settings.accel_prefix),
        media_type=views.MEDIA_TYPE,
        etag=_etag(view["blob"]),
        modified=view["made_at"],
        filename=f"task-{row['id']}-view.jpg",
    )


def _etag(blob: str) -> str:
    """Blobs never change under their key, and its random part is theirs alone."""
    return blob.rpartition("/")[2].partition("-")[0]


async def _showing(res: Resources, row: Mapping[str, Any]) -> Showing:
    """Judged anew at each request: only for JPEG and PNG that takes a look at the stored bytes."""
    head = await _head(res.blobs, row["blob"]) if row["format"] in BY_HEADER else b""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(res.probers, showing, row["format"], head)


async def _head(blobs: Blobs, key: str) -> bytes:
    async with aclosing(blobs.stream(key, 0, HEAD_BYTES)) as pieces:
        return b"".join([piece async for piece in pieces])


async def _want(res: Resources, row: Mapping[str, Any]) -> None:
    try:
        due = await views.want(res.database.fetchrow, row["id"])
    except asyncpg.ForeignKeyViolationError as error:
        raise NotFound(MISSING) from error
    if due:
        await views.send(res.process_lanes, row["owner_id"], row["id"], row["blob"])


def _not_ready() -> NotFound:
    return NotFound("The view is still being made.", slug="not-ready", retry_after=RETRY_SECONDS)


def _failed(detail: str) -> NotFound:
    return NotFound(detail, slug="processing-failed")
