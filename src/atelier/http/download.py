"""A download that is made while it is sent: nobody knows its length, and memory stays flat.

Pieces are asked for as fast as the client takes them, and no faster.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from atelier.errors import AtelierError
from atelier.http.conditional import disposition
from atelier.http.leaving import until_left
from atelier.http.sendfile import HEAD

log = logging.getLogger(__name__)


class Download(Response):
    """A file of this name, for no cache to keep.

    What fails before the first piece is answered as an error. What fails later ends the connection
    without the end of the answer: half a file must not look whole.
    """

    def __init__(self, pieces: AsyncGenerator[bytes, None], media_type: str, name: str) -> None:
        self.status_code = 200
        self.raw_headers = [
            (b"content-type", media_type.encode()),
            (b"content-disposition", disposition(name, attachment=True)),
            (b"cache-control", b"no-store"),
        ]
        self.body = b""
        self.background = None
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it all. Raises ClientDisconnect when the client has gone, or is sent away."""
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        async with aclosing(self._pieces) as pieces:
            if scope.get(HEAD):
                await send(start)
            else:
                piece = await anext(pieces, b"")
                await send(start)
                await self._send(piece, pieces, receive, send)
        await send({"type": "http.response.body", "body": b""})

    async def _send(
        self, piece: bytes, rest: AsyncGenerator[bytes, None], receive: Receive, send: Send
    ) -> None:
        leaving = asyncio.create_task(until_left(receive))
        try:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            async for following in rest:
                if leaving.done():  # the server would take all the rest, and throw it away
                    raise ClientDisconnect
                await send({"type": "http.response.body", "body": following, "more_body": True})
        except AtelierError as error:
            # An error that has a handler would be logged as a fault of ours.
            log.warning("a download was cut off: %s", error.slug)
            raise ClientDisconnect from error
        finally:
            leaving.cancel()
