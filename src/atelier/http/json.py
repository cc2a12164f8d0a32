"""Responses that are ready bytes: JSON by orjson, headers built once. Knows no error and no resource."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope, Send

JSON = b"application/json"
OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC


class Ready(Response):
    """A status, headers and a body that nobody looks at again; a third of the cost of a Starlette response."""

    def __init__(self, body: bytes, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.status_code = status
        self.body = body
        self.raw_headers = [*headers, (b"content-length", str(len(body)).encode())]
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send both messages."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body})
        if self.background is not None:
            await self.background()


class Bodiless(Ready):
    """A status and headers alone: 304, 204. A length would speak of a body that is not there."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        super().__init__(b"", status, [])
        self.raw_headers = headers or []


def raw_headers(media_type: bytes, headers: Mapping[str, str] | None = None) -> list[tuple[bytes, bytes]]:
    """Headers in ASGI's form, the media type first."""
    raw = [(b"content-type", media_type)]
    if headers:
        raw += [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return raw


def dumps(value: object) -> bytes:
    """JSON bytes: UTF-8, datetimes as RFC 3339 in UTC with Z. Lone surrogates, which UTF-8 cannot say, become `?`."""
    try:
        return orjson.dumps(value, option=OPTIONS)
    except orjson.JSONEncodeError:
        return orjson.dumps(_sayable(value), option=OPTIONS)


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`value` as JSON; bytes are taken to be JSON already."""
    body = value if isinstance(value, bytes) else dumps(value)
    return Ready(body, status, raw_headers(JSON, headers))


def _sayable(value: object) -> object:
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_sayable(key): _sayable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_sayable(item) for item in value]
    return value
