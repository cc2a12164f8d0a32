"""Bodies are judged before they are read: who sends one, then how large it may be.

Knows no route by name. Uploads and forms, which their routes read as they come, have limits of
their own.
"""

from __future__ import annotations

from collections.abc import Iterator

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.requests import Request

from atelier.errors import TooLarge
from atelier.http.auth import Bearer

JSON_LIMIT = 256 * 1024  # bytes of a JSON body: parsed and checked in a few milliseconds
# Of one that needs no token: an address and a password, percent-encoded, take half of it at most
OPEN_LIMIT = 8 * 1024


def parts_of(route: APIRoute) -> Iterator[Dependant]:
    """A route's own parameters, then those of everything that it depends on."""
    waiting = [route.dependant]
    while waiting:
        part = waiting.pop()
        yield part
        waiting += part.dependencies


def bearer_of(route: APIRoute) -> Bearer | None:
    """The check of a route's tokens; None for a route that needs none."""
    return next((part.call for part in parts_of(route) if isinstance(part.call, Bearer)), None)


def limit_of(bearer: Bearer | None) -> int:
    """The largest JSON body of a route, in bytes."""
    return OPEN_LIMIT if bearer is None else JSON_LIMIT


async def read(request: Request, limit: int) -> bytes:
    """The whole body.

    Raises TooLarge, unread where its length is declared, else as soon as it is too large.
    """
    if int(request.headers.get("content-length", 0)) > limit:
        raise _too_large(limit)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise _too_large(limit)
    return bytes(body)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"A body of this kind may have {limit} bytes.")
