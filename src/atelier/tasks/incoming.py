"""A task as it is sent: multipart, or JSON whose `image` is base64, decoded on its way to memory or disk.

The base64 text is never held: memory stays flat and time linear, whatever is sent. Knows no store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.requests import Request

from atelier.errors import Unsupported
from atelier.http.complaints import A_TEXT, REQUIRED, unknown
from atelier.http.strict import has_nul, is_json
from atelier.http.upload import BATCH_BYTES, Spool, invalid, receive, spool_folder
from atelier.settings import Settings
from atelier.tasks.base64_json import Base64Json
from atelier.tasks.service import Picture

META_LIMIT = 10_000  # characters
SLICE_BYTES = 256 * 1024  # of a body decoded at once
IMAGE, META = "image", "meta"


@asynccontextmanager
async def incoming(request: Request, settings: Settings) -> AsyncIterator[tuple[Picture, str]]:
    """The image and the meta of a new task.

    A spooled file is gone when this ends, unless somebody took it over.

    Raises Unsupported, Malformed and Invalid, and what the spool raises.
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
        values = received.fields.getlist(META)
        if len(values) > 1:
            raise invalid(META, "Given twice")
        file = received.file
        yield (
            Picture(file.content, file.sha256, file.size),
            _meta({META: values[0]} if values else {}),
        )


@asynccontextmanager
async def _json(request: Request, settings: Settings) -> AsyncIterator[tuple[Picture, str]]:
    spool = Spool(spool_folder(settings), settings.body_limit)
    envelope = Base64Json(IMAGE)
    try:
        async for chunk in request.stream():
            for start in range(0, len(chunk), SLICE_BYTES):
                for part in envelope.feed(chunk[start : start + SLICE_BYTES]):
                    spool.add(part)
                if spool.waiting > BATCH_BYTES:
                    await spool.flush()
        fields = envelope.finish()
        meta = _meta(fields)
        sha256, content = await spool.finish()
        yield Picture(content, sha256, spool.size), meta
    finally:
        spool.discard()


def _meta(fields: dict[str, Any]) -> str:
    """The `meta` of `fields`, which hold nothing else: any text of bounded length."""
    if other := next((name for name in fields if name != META), None):
        raise invalid(other, unknown((IMAGE, META)))
    if META not in fields:
        raise invalid(META, REQUIRED)
    meta = fields[META]
    if not isinstance(meta, str):
        raise invalid(META, A_TEXT)
    if len(meta) > META_LIMIT:
        raise invalid(META, f"At most {META_LIMIT} characters")
    if has_nul(meta):
        raise invalid(META, "NUL characters are not accepted")
    return meta
