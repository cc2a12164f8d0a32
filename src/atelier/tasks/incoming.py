"""Receives a new task: multipart, or JSON whose `image` is base64, decoded on the fly.

The base64 text is never held: memory stays flat and time linear for any input. Knows no store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.requests import Request

from atelier.errors import Unsupported
from atelier.http.upload import finish, flush, receive
from atelier.observe.metrics import UPLOADED
from atelier.settings import Settings
from atelier.tasks.base64_json import Base64Json
from atelier.tasks.service import Picture
from atelier.wire.complaints import A_NUMBER, A_TEXT, REQUIRED, TWICE, accepted, refused, unknown
from atelier.wire.numbers import whole
from atelier.wire.spaces import MAX_ID
from atelier.wire.spool import Spool
from atelier.wire.strict_json import has_nul, is_json
from atelier.wire.texts import bounded, too_long

META_LIMIT = 10_000  # characters
SLICE_BYTES = 256 * 1024  # of a body decoded at once
IMAGE, META, QUEUE, STORED = "image", "meta", "queue_id", "image_id"


@dataclass(frozen=True, slots=True)
class Incoming:
    """A new task as it was sent: with an image of its own, or of a stored picture."""

    picture: Picture | None
    meta: str
    queue_id: int | None
    image_id: int | None = None


@asynccontextmanager
async def incoming(request: Request, settings: Settings) -> AsyncIterator[Incoming]:
    """Receive a new task.

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
    async with reading as received:
        yield received


@asynccontextmanager
async def _multipart(request: Request, settings: Settings) -> AsyncIterator[Incoming]:
    async with receive(request, settings, (IMAGE, "file"), (META, QUEUE)) as received:
        fields = {}
        for name in (META, QUEUE):
            values = received.values(name)
            if len(values) > 1:
                raise refused(TWICE, "body", name)
            if values:
                fields[name] = values[0]
        file = received.file
        queue_id = whole(fields[QUEUE], MAX_ID, "body", QUEUE) if QUEUE in fields else None
        yield Incoming(Picture(file.content, file.sha256, file.size), _meta(fields), queue_id)


@asynccontextmanager
async def _json(request: Request, settings: Settings) -> AsyncIterator[Incoming]:
    spool = Spool(settings.incoming_folder, settings.body_limit)
    envelope = Base64Json(IMAGE)
    try:
        async for chunk in request.stream():
            for start in range(0, len(chunk), SLICE_BYTES):
                for part in envelope.feed(chunk[start : start + SLICE_BYTES]):
                    spool.add(part)
                if spool.is_full:
                    await flush(spool)
        fields = envelope.finish(instead=STORED)
        if other := next((name for name in fields if name not in (META, QUEUE, STORED)), None):
            raise refused(unknown((IMAGE, META, QUEUE, STORED)), "body", other)
        meta, queue_id, image_id = _meta(fields), _id(fields, QUEUE), _id(fields, STORED)
        if not envelope.found:
            yield Incoming(None, meta, queue_id, image_id)
            return
        if image_id is not None:
            raise refused("Either `image` or `image_id`, not both", "body", STORED)
        sha256, content = await finish(spool)
        UPLOADED.labels("picture").inc(spool.size)
        yield Incoming(Picture(content, sha256, spool.size), meta, queue_id)
    finally:
        spool.discard()


def _id(fields: dict[str, Any], name: str) -> int | None:
    """The id in a field of JSON, which may be left out."""
    value = fields.get(name)
    if name in fields and (type(value) is not int or not 1 <= value <= MAX_ID):
        raise refused(A_NUMBER, "body", name)
    return value


def _meta(fields: dict[str, Any]) -> str:
    """The `meta` of `fields`: any text of bounded length."""
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
