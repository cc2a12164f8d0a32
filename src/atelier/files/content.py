"""A blob over HTTP: whole or in part, conditional, and never run as a page by a browser."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.core.files.storage import default_storage
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.cache import get_conditional_response
from django.utils.http import content_disposition_header, http_date

from atelier.files import django_setup, problems
from atelier.http.accel import ACCEL, UNPROXIED, file_size
from atelier.http.preconditions import accepted

LOCKED = "default-src 'none'; sandbox"
PRIVATE = "private, no-cache"
CHUNK_BYTES = 256 * 1024
_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))", re.ASCII)


class Part(io.RawIOBase):
    """A file's bytes from `start` up to but without `stop`, as a file that ends there."""

    def __init__(self, file: Any, start: int, stop: int) -> None:
        self.file, self.start, self.stop = file, start, stop
        self._next = start
        file.seek(start)

    def read(self, size: int = -1) -> bytes:
        """The next bytes, up to the end of the part."""
        left = self.stop - self._next
        data: bytes = self.file.read(left if size < 0 else min(size, left))
        self._next += len(data)
        return data

    def close(self) -> None:
        """Close the file as well."""
        self.file.close()
        super().close()


def respond(
    request: HttpRequest,
    key: str,
    *,
    size: int,
    modified: datetime,
    media_type: str,
    name: str,
    attachment: bool = True,
) -> Any:
    """The blob as the request's conditions and range ask.

    Blobs never change, so their key is their entity tag. Only what Atelier made itself may be
    shown in place of being saved: `attachment=False`.
    """
    etag = f'"{key.rpartition("/")[2].partition("-")[0]}"'
    headers = {
        "ETag": etag,
        "Last-Modified": http_date(min(modified.timestamp(), time.time())),
        "Cache-Control": PRIVATE,
        "Content-Security-Policy": LOCKED,
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
    }
    answer = get_conditional_response(request, etag, int(modified.timestamp()), None)
    if answer is not None:
        return _conditional(answer, headers)
    span = _span(request, etag, headers["Last-Modified"], size)
    start, stop = span or (0, size)
    if start >= stop:
        return problems.from_status(416, headers={"Content-Range": f"bytes */{size}"})
    headers["Content-Type"] = media_type
    headers["Content-Disposition"] = content_disposition_header(attachment, name or "file")
    if location := _location(request, key, span):
        del headers["Accept-Ranges"]  # nginx says it by itself
        return HttpResponse(headers=headers | {ACCEL: location})
    headers["Content-Length"] = str(stop - start)
    if span:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    status = 206 if span else 200
    if request.method == "HEAD":
        return HttpResponse(status=status, headers=headers)
    part = Part(default_storage.open(key), start, stop)
    response = StreamingHttpResponse(
        iter(lambda: part.read(CHUNK_BYTES), b""), status=status, headers=headers
    )
    response.file_to_stream = part  # what WSGI servers with a file wrapper take
    response.block_size = CHUNK_BYTES
    response._resource_closers.append(part.close)
    return response


def _location(request: HttpRequest, key: str, span: tuple[int, int] | None) -> str | None:
    """Where the proxy before us finds the blob, if it would answer as we do.

    Raises NotFound when the file is gone.
    """
    prefix, path = (
        django_setup.context().settings.accel_prefix,
        django_setup.context().blobs.path(key),
    )
    if prefix is None or path is None:
        return None
    file_size(path)
    cut = "Range" in request.headers and span is None
    judged = any(name in request.headers for name in UNPROXIED)
    return None if request.method == "HEAD" or cut or judged else prefix + key


def _conditional(answer: HttpResponse, headers: dict[str, str]) -> HttpResponse:
    if answer.status_code == 412:
        return problems.from_status(412)
    for name in ("ETag", "Last-Modified", "Cache-Control"):
        answer[name] = headers[name]
    return answer


def _span(request: HttpRequest, etag: str, modified: str, size: int) -> tuple[int, int] | None:
    """First byte and last byte plus one; None: the whole.

    Several ranges and rubbish are ignored (RFC 9110, 14.2).
    """
    match = _RANGE.fullmatch(request.headers.get("Range", "").strip())
    condition = request.headers.get("If-Range", etag).strip()
    if match is None or request.method == "HEAD" or condition not in (etag, modified):
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        return (max(0, size - int(suffix)), size) if int(suffix) else (0, 0)
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1 if last else size)


def if_match(request: HttpRequest) -> Callable[[str], bool]:
    """Whether an entity tag, in its quotes, is one that If-Match accepts. Raises Malformed."""
    judge = accepted(request.headers.get("If-Match"))
    return lambda etag: judge(etag.strip('"'))
