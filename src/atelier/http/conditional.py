"""Conditional requests and ranges (RFC 9110, sections 13 and 14): entity tags, 304, 206, 412, 416.

Knows headers and bytes, not where they come from. Entity tags are given without their quotes.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from atelier.errors import PreconditionFailed
from atelier.http.json import JSON, Bodiless, Ready
from atelier.http.problems import from_status
from atelier.http.sendfile import HEAD, ProxiedFile, RemoteBlob, Streamed, open_file
from atelier.wire.accel import ACCEL, UNPROXIED, file_size
from atelier.wire.preconditions import TAG, accepted

Headers: TypeAlias = list[tuple[bytes, bytes]]

PRIVATE = (
    b"cache-control",
    b"private, no-cache",
)  # kept by its reader alone, and asked about before each use
LOCKED = (
    b"content-security-policy",
    b"default-src 'none'; sandbox",
)  # what is uploaded never runs as a page
RANGES = (b"accept-ranges", b"bytes")
REMEMBERED = 2048  # descriptions of contents that were sent lately, of about 1 KB each
_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))", re.ASCII)
_QUOTED = re.compile(r"[^\x20-\x7e]|[\"\\%]")


def if_match(request: Request) -> Callable[[str], bool]:
    """Whether an entity tag is one that the request's If-Match accepts. Raises Malformed."""
    return accepted(", ".join(given) if (given := request.headers.getlist("if-match")) else None)


def require_match(request: Request, etag: str) -> None:
    """Raises PreconditionFailed when If-Match does not name this entity tag, Malformed when it names none."""
    if not if_match(request)(etag):
        raise PreconditionFailed("The object has changed since this entity tag.")


def record_response(request: Request, body: bytes, etag: str, status: int = 200) -> Response:
    """A JSON record as ready bytes with its entity tag; 304 when the client has it."""
    headers = [(b"etag", f'"{etag}"'.encode("latin-1")), PRIVATE]
    if status == 200 and _fresh(_conditions(request), etag, None):
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
) -> Response:
    """A picture or file, whole or in part, as the request's conditions ask.

    Raises NotFound when a path is gone.

    `content` is the bytes, a file on this machine, or something of known size that is streamed
    from elsewhere. A file that the proxy before us can send is left to it wherever it comes to the
    same conclusions. An `attachment` is saved, not shown, by a browser that is sent to it.
    """
    shown = min(modified.timestamp(), time.time())  # another machine's clock may be ahead
    headers = _description(etag, int(shown), media_type, filename, attachment)
    return _conditional(request, content, etag, modified, [*headers])


@lru_cache(REMEMBERED)
def _description(
    etag: str, modified: int, media_type: str, filename: str, attachment: bool
) -> Headers:
    """The headers of a content, last those that a 304 goes without; `modified` in Unix seconds."""
    return [
        (b"etag", f'"{etag}"'.encode("latin-1")),
        (b"last-modified", http_date(modified)),
        PRIVATE,
        LOCKED,
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
    if _fresh(conditions, etag, modified):
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
        return from_status(416, headers={"Content-Range": f"bytes */{size}"})
    shown = f"bytes {start}-{stop - 1}/{size}".encode()
    return _send(source, start, stop, 206, [*headers, (b"content-range", shown)])


def _proxy_agrees(
    request: Request,
    conditions: dict[bytes, bytes],
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
    if b"range" not in conditions:
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
    request: Request, conditions: dict[bytes, bytes], etag: str, modified: datetime, size: int
) -> tuple[int, int] | None:
    """The span that is asked for, as `parse_range` says it; None for the whole content."""
    wanted = conditions.get(b"range")
    if (
        wanted is None
        or request.scope.get(HEAD)
        or not _range_applies(conditions.get(b"if-range"), etag, modified)
    ):
        return None
    return parse_range(wanted.decode("latin-1"), size)


def parse_range(value: str, size: int) -> tuple[int, int] | None:
    """The first and the last byte plus one; an empty span cannot be satisfied; None means the whole content.

    Several ranges, other units and rubbish are ignored, as RFC 9110 14.2 allows.
    """
    match = _RANGE.fullmatch(value.strip())
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        return (max(0, size - int(suffix)), size) if int(suffix) else (0, 0)
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1 if last else size)


def http_date(seconds: int) -> bytes:
    """The form of Last-Modified, of Unix seconds."""
    return formatdate(seconds, usegmt=True).encode()


def disposition(filename: str, *, attachment: bool = False) -> bytes:
    """`inline` or `attachment` under this name, in ASCII for old clients and in UTF-8 (RFC 6266)."""
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
_CONDITIONS = frozenset({b"if-none-match", b"if-modified-since", b"range", b"if-range"})


def _conditions(request: Request) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, value in request.scope["headers"]:
        if name in _CONDITIONS:
            found[name] = found[name] + b", " + value if name in found else value
    return found


def _fresh(conditions: dict[bytes, bytes], etag: str, modified: datetime | None) -> bool:
    """Whether the client has this very content."""
    if not conditions:
        return False
    if (tags := conditions.get(b"if-none-match")) is not None:
        value = tags.decode("latin-1")
        return value.strip() == "*" or any(
            tag == etag for _, tag in TAG.findall(value)
        )  # the weak comparison
    since = _date(conditions.get(b"if-modified-since"))
    return since is not None and modified is not None and modified.replace(microsecond=0) <= since


def _range_applies(condition: bytes | None, etag: str, modified: datetime) -> bool:
    """If-Range: the range counts only for the content that the client has a part of."""
    if condition is None:
        return True
    value = condition.decode("latin-1").strip()
    return (
        value == f'"{etag}"'
        if value.endswith('"')
        else _date(condition) == modified.replace(microsecond=0)
    )


def _date(value: bytes | None) -> datetime | None:
    """An HTTP date; rubbish is no condition."""
    if value is None:
        return None
    try:
        moment = parsedate_to_datetime(value.decode("latin-1"))
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
