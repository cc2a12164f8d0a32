"""Receives a new task: multipart, or JSON whose `image` is base64, decoded on the fly.

The base64 text is never held: memory stays flat and time linear for any input. Knows no store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from starlette.requests import Request

from atelier.errors import Unsupported
from atelier.http.upload import finish, flush, receive
from atelier.observe.metrics import UPLOADED
from atelier.settings import Settings
from atelier.tasks.base64_json import Base64Json
from atelier.tasks.service import Picture
from atelier.wire.complaints import A_TEXT, REQUIRED, TWICE, accepted, refused, unknown
from atelier.wire.spool import Spool
from atelier.wire.strict_json import has_nul, is_json
from atelier.wire.texts import bounded, too_long

META_LIMIT = 10_000  # characters
SLICE_BYTES = 256 * 1024  # of a body decoded at once
IMAGE, META = "image", "meta"


@asynccontextmanager
async def incoming(request: Request, settings: Settings) -> AsyncIterator[tuple[Picture, str]]:
    """The image and the meta of a new task.

    A spooled file is removed when this ends, unless it was stored by then. Raises Unsupported,
    Malformed and Invalid, and the errors of the spool.
    """
    content_type = request.headers.get("content-type", "")
    if is_json(content_type):
        reading = _json(request, settings)
    elif content_type.lower().startswith("multipart/"):
        reading = _multipart(request, settings)
    else:
        raise Unsupported("Send JSON, as application/json, or multipart/form-data.")
    async with reading as (picture, meta):
        yield picture, meta


@asynccontextmanager
async def _multipart(request: Request, settings: Settings) -> AsyncIterator[tuple[Picture, str]]:
    async with receive(request, settings, (IMAGE, "file"), (META,)) as received:
        values = received.values(META)
        if len(values) > 1:
            raise refused(TWICE, "body", META)
        file = received.file
        yield (
            Picture(file.content, file.sha256, file.size),
            _meta({META: values[0]} if values else {}),
        )


@asynccontextmanager
async def _json(request: Request, settings: Settings) -> AsyncIterator[tuple[Picture, str]]:
    spool = Spool(settings.incoming_folder, settings.body_limit)
    envelope = Base64Json(IMAGE)
    try:
        async for chunk in request.stream():
            for start in range(0, len(chunk), SLICE_BYTES):
                for part in envelope.feed(chunk[start : start + SLICE_BYTES]):
                    spool.add(part)
                if spool.is_full:
                    await flush(spool)
        fields = envelope.finish()
        meta = _meta(fields)
        sha256, content = await finish(spool)
        UPLOADED.labels("picture").inc(spool.size)
        yield Picture(content, sha256, spool.size), meta
    finally:
        spool.discard()


def _meta(fields: dict[str, Any]) -> str:
    """The `meta` of `fields`, the only one allowed: any text of bounded length."""
    if other := next((name for name in fields if name != META), None):
        raise refused(unknown((IMAGE, META)), "body", other)
    if META not in fields:
        raise refused(REQUIRED, "body", META)
    meta = fields[META]
    if not isinstance(meta, str):
        raise refused(A_TEXT, "body", META)
    if len(meta) > META_LIMIT:
        raise refused(too_long(META_LIMIT), "body", META)
    if has_nul(meta):
        raise refused("NUL characters are not accepted", "body", META)
    return accepted(partial(bounded, meta, META_LIMIT), "body", META)
