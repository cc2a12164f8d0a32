"""Multipart uploads to FastAPI's routes: the disk and long digests wait in threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from starlette.requests import Request

from atelier.observe.metrics import UPLOADED
from atelier.wire.multipart import Form, Upload
from atelier.wire.spool import Spool

if TYPE_CHECKING:
    from atelier.settings import Settings

T = TypeVar("T")

# Hashed on the loop in well under a millisecond; more is for a thread.
INLINE_HASH_BYTES = 256 * 1024


@asynccontextmanager
async def receive(
    request: Request,
    settings: Settings,
    names: Collection[str] = ("file",),
    fields: Collection[str] = (),
) -> AsyncIterator[Upload]:
    """Read a `multipart/form-data` body with these `fields`.

    The file may come under any of `names`. Raises Unsupported, Malformed, Invalid, TooLarge,
    Unavailable (disk full) and, when the client goes away, starlette's ClientDisconnect. Whatever
    happens, nothing stays in the folder.
    """
    spool = Spool(settings.incoming_folder, settings.body_limit)
    try:
        form = Form(request.headers.get("content-type", ""), spool, names, fields)
        upload = await read_form(form, request.stream())
        UPLOADED.labels("picture").inc(spool.size)
        yield upload
    finally:
        spool.discard()


async def read_form(form: Form, body: AsyncIterable[bytes]) -> Upload:
    """Feed a body to a form; the upload. Raises what the form and the body raise."""
    async for chunk in body:
        form.feed(chunk)
        if form.spool.is_full:
            await flush(form.spool)
    form.end()
    return form.upload(*await finish(form.spool))


async def flush(spool: Spool) -> None:
    """Hash and write what waits, off the loop."""
    await _in_thread(spool.write)


async def finish(spool: Spool) -> tuple[str, bytes | Path]:
    """SHA-256 in hex and the whole content."""
    if spool.in_memory and spool.size <= INLINE_HASH_BYTES:
        return spool.finish()
    return await _in_thread(spool.finish)


async def _in_thread(work: Callable[[], T]) -> T:
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        # The thread uses the descriptor that `discard` is about to close.
        await asyncio.wait([working])
        raise
