"""The export of pictures over HTTP: parse, judge, stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from atelier.auth import Principal, Right
from atelier.http.download import Download
from atelier.http.exporting import SLICE, Standing, filename, placed
from atelier.http.problems import responses
from atelier.http.resources import Res, Resources
from atelier.http.strict import Decimal
from atelier.images import archive_zip, export, queries
from atelier.images.export import Csv, Format, JsonLines, Writer, batches
from atelier.images.filtering import Format as Original
from atelier.images.filtering import Narrowed
from atelier.images.listing import Filters
from atelier.images.records import MISSING
from atelier.images.routes import NAME, Viewer
from atelier.wire.complaints import refused
from atelier.wire.spaces import MAX_ID

IDS_MOST = 500  # in an address, whose length proxies limit

router = APIRouter(tags=["images"])
As = Annotated[Format, Query(description="CSV, one JSON record on each line, or the files.")]
OfFormat = Annotated[
    Original | None,
    Query(alias="original", description="Only images whose original has this format."),
]
Ids = Annotated[
    Annotated[list[Annotated[int, Field(ge=1, le=MAX_ID), Decimal]], Field(max_length=IDS_MOST)]
    | None,
    Query(alias="id", description="Only these images of the space; repeated.", examples=[[42]]),
]
Rendition = Annotated[
    Annotated[str, Field(pattern=NAME, max_length=50)] | None,
    Query(description="Of a ZIP archive: which files; left out: the originals."),
]
Bom = Annotated[
    bool, Query(description="Begin a CSV with a byte order mark, which Excel needs for UTF-8.")
]
_STREAMED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The images, lowest `id` first.",
        "content": {
            "text/csv": {"schema": {"type": "string"}},
            JsonLines.media_type: {"schema": {"type": "string"}},
            archive_zip.MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@router.get(
    "/api/images/export",
    response_class=Response,
    responses=_STREAMED | responses(401, 404, 422, 429, 503),
)
async def export_images(
    request: Request,
    user: Viewer,
    res: Res,
    narrow: Narrowed,
    format: As = Format.CSV,  # noqa: A002 - the parameter's name
    original: OfFormat = None,
    ids: Ids = None,
    rendition: Rendition = None,
    bom: Bom = False,
) -> Response:
    """Download pictures, or what is known of them.

    All that filters find, lowest `id` first, as CSV, JSON Lines, or a ZIP archive of their files
    with a manifest. What fails on the way ends the connection without the end of the answer, and
    so does the end of the credential.
    """
    if bom and format is not Format.CSV:
        raise refused("Only CSV begins with one", "query", "bom")
    if rendition is not None and format is not Format.ZIP:
        raise refused("Only ZIP archives hold renditions", "query", "rendition")
    filters = replace(narrow(user), format=original)
    if ids is not None:
        ids = sorted(set(ids))
        await export.require_all(res.database, filters.space_id, ids)
    found = _standing(request, res, filters, ids)
    if format is Format.ZIP:
        if ids is None:
            await _require_few(res, user, filters)
        folder = res.settings.incoming_folder
        pieces = archive_zip.archive(res.blobs, found, rendition or "original", folder)
        media_type = archive_zip.MEDIA_TYPE
    else:
        writer = Csv(bom=bom) if format is Format.CSV else JsonLines()
        pieces, media_type = _lines(found, writer), writer.media_type
    name = filename(f"images-{filters.space_id}", "images", format)
    return Download(placed(user, pieces), media_type, name)


async def _require_few(res: Resources, user: Principal, filters: Filters) -> None:
    """Raise Invalid if an archive would hold too many pictures."""
    _, exact = await queries.count(res.database, user_id=user.user_id, filters=filters)
    if not exact:
        message = f"An archive holds at most {archive_zip.MOST:,} images; narrow the filters"
        raise refused(message, "query", "format")


async def _standing(
    request: Request, res: Resources, filters: Filters, ids: list[int] | None
) -> AsyncGenerator[Any, None]:
    """The rows, a few at a time, while the caller may see them; others have turns in between.

    Raises Unauthenticated, NotFound and NotAllowed.
    """
    standing = Standing(request, res, filters.space_id, Right.IMAGES_READ)
    async with aclosing(batches(res.database, filters, ids)) as found:
        async for rows in found:
            for start in range(0, len(rows), SLICE):
                await standing.check(MISSING)
                yield rows[start : start + SLICE]
                await asyncio.sleep(0)


async def _lines(found: AsyncGenerator[Any, None], writer: Writer) -> AsyncGenerator[bytes, None]:
    lines = writer.head
    async with aclosing(found):
        async for rows in found:
            yield lines + writer.lines(rows)
            lines = b""
    yield lines
