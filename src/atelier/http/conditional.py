"""Answers that conditions and ranges decide: 200, 206, 304, 412 or 416.

Knows headers and bytes, not where they come from. Entity tags are given without their quotes.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from atelier.http.json import JSON, Bodiless, Ready
from atelier.http.problems import from_status
from atelier.http.sendfile import HEAD, ProxiedFile, RemoteBlob, Streamed, open_file
from atelier.wire.accel import ACCEL, UNPROXIED, file_size
from atelier.wire.preconditions import (
    LASTING,
    LOCKED,
    NAMES,
    PRIVATE,
    Conditions,
    accepted,
    http_date,
    is_fresh,
    require,
    wanted_span,
)
from atelier.wire.ranges import content_range, unsatisfied

Headers: TypeAlias = list[tuple[bytes, bytes]]

_PRIVATE = (b"cache-control", PRIVATE.encode())
_LASTING = (b"cache-control", LASTING.encode())
RANGES = (b"accept-ranges", b"bytes")
REMEMBERED = 2048  # descriptions of contents that were sent lately, of about 1 KB each
_QUOTED = re.compile(r"[^\x20-\x7e]|[\"\\%]")


def if_match(request: Request) -> Callable[[str], bool]:
    """The judge of entity tags that the request's If-Match makes. Raises Malformed."""
    return accepted(", ".join(given) if (given := request.headers.getlist("if-match")) else None)


def record_response(request: Request, body: bytes, etag: str, status: int = 200) -> Response:
    """A JSON record as ready bytes with its entity tag; 304 when the client has it."""
    headers = [(b"etag", f'"{etag}"'.encode("latin-1")), _PRIVATE]
    if status == 200 and is_fresh(_conditions(request), etag, None):
        return Bodiless(304, headers)
    return Ready(body, status, [(b"content-type", JSON), *headers])


def picture_response(
    request: Request,
    content: bytes | Path | ProxiedFile | RemoteBlob,
    *,
    media_type: str,
    etag: str,
    modified: datetime,
    filename: str,
    attachment: bool = False,
    lasting: bool = False,
) -> Response:
    """A picture or file, whole or in part, as the request's conditions ask.

    Raises NotFound when a path is gone, PreconditionFailed and Malformed.

    `content` is the bytes, a file on this machine, or something of known size that is streamed
    from elsewhere. A file that the proxy before us can send is left to it wherever it comes to the
    same conclusions. An `attachment` is saved, not shown, by a browser that is sent to it. What is
    `lasting` may be kept for a year without asking again.
    """
    shown = min(modified.timestamp(), time.time())  # another machine's clock may be ahead
    headers = _description(etag, int(shown), media_type, filename, attachment, lasting)
    return _conditional(request, content, etag, modified, [*headers])


@lru_cache(REMEMBERED)
def _description(
    etag: str, modified: int, media_type: str, filename: str, attachment: bool, lasting: bool
) -> Headers:
    """The headers of a content, last those that a 304 goes without; `modified` in Unix seconds."""
    return [
        (b"etag", f'"{etag}"'.encode("latin-1")),
        (b"last-modified", http_date(modified).encode()),
        _LASTING if lasting else _PRIVATE,
        (b"content-security-policy", LOCKED.encode()),
        RANGES,
        (b"content-type", media_type.encode("latin-1")),
        (b"content-disposition", disposition(filename, attachment=attachment)),
    ]


def _conditional(
    request: Request,
    content: bytes | Path | ProxiedFile | RemoteBlob,
    etag: str,
    modified: datetime,
    headers: Headers,
) -> Response:
    conditions = _conditions(request)
    require(conditions, etag, modified)
    if is_fresh(conditions, etag, modified):
        return Bodiless(304, headers[:-2])  # without what describes the content
    if isinstance(content, ProxiedFile):
        if _proxy_agrees(request, conditions, etag, modified, content):
            headers.remove(RANGES)  # nginx says it by itself
            return Ready(b"", 200, [*headers, (ACCEL.lower().encode(), content.location.encode())])
        content = content.path
    source, size = open_file(content) if isinstance(content, Path) else (content, _size(content))
    found = _span(request, conditions, etag, modified, size)
    if found is None:
        return _send(source, 0, size, 200, headers)
    start, stop = found
    if start >= stop:
        if isinstance(source, int):
            os.close(source)
        return from_status(416, headers=unsatisfied(size))
    shown = (b"content-range", content_range(start, stop, size).encode())
    return _send(source, start, stop, 206, [*headers, shown])


def _proxy_agrees(
    request: Request,
    conditions: Conditions,
    etag: str,
    modified: datetime,
    file: ProxiedFile,
) -> bool:
    """Whether nginx, which cuts ranges out by itself, would answer as we do.

    Raises NotFound when the file is gone.
    """
    size = file_size(file.path)
    if request.scope.get(HEAD) or not UNPROXIED.isdisjoint(request.headers.keys()):
        return False
    if "range" not in conditions:
        return True
    span = _span(request, conditions, etag, modified, size)
    return span is not None and span[0] < span[1]


def _size(content: bytes | RemoteBlob) -> int:
    return len(content) if isinstance(content, bytes) else content.size


def _send(
    source: bytes | int | RemoteBlob, start: int, stop: int, status: int, headers: Headers
) -> Response:
    """In one message what is in memory, streamed what is not."""
    if isinstance(source, bytes):
        return Ready(source[start:stop], status, headers)
    return Streamed(source, start, stop, status, headers)


def _span(
    request: Request, conditions: Conditions, etag: str, modified: datetime, size: int
) -> tuple[int, int] | None:
    if request.scope.get(HEAD):
        return None
    return wanted_span(conditions, etag, modified, size)


def disposition(filename: str, *, attachment: bool = False) -> bytes:
    """`inline` or `attachment` under this name, in ASCII and in UTF-8 (RFC 6266)."""
    plain = _QUOTED.sub("_", filename)
    encoded = "".join(
        chr(byte) if byte in _ATTRIBUTE else f"%{byte:02X}"
        for byte in filename.encode(errors="replace")
    )
    kind = "attachment" if attachment else "inline"
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{encoded}".encode()


_ATTRIBUTE = frozenset(
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$&+-.^_`|~"
)
_CONDITIONS = {name.encode(): name for name in NAMES}


def _conditions(request: Request) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw, value in request.scope["headers"]:
        if name := _CONDITIONS.get(raw):
            text = value.decode("latin-1")
            found[name] = f"{found[name]}, {text}" if name in found else text
    return found
