"""Bodies are judged before they are read: who sends one, then how large it may be.

Knows no route by name. Uploads and forms, which their routes read as they come, have limits of
their own.
"""

from __future__ import annotations

from starlette.requests import Request

from atelier.http.auth import Needs
from atelier.wire.strict_json import LIMIT_BYTES, too_large

# Of one that needs no token: an address and a password, percent-encoded, take half of it at most
OPEN_LIMIT = 8 * 1024


def limit_of(check: Needs | None) -> int:
    """The largest JSON body of a route, in bytes."""
    return OPEN_LIMIT if check is None else LIMIT_BYTES


async def read(request: Request, limit: int) -> bytes:
    """The whole body.

    Raises TooLarge, unread where its length is declared, else as soon as it is too large.
    """
    if int(request.headers.get("content-length", 0)) > limit:
        raise too_large(limit)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise too_large(limit)
    return bytes(body)
