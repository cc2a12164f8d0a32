"""A blob over HTTP: whole or in part, conditional, and never run as a page by a browser."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from django.core.files.storage import default_storage
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.http import content_disposition_header

from atelier.files import django_setup, problems
from atelier.files.inspectors.media_types import served
from atelier.wire import preconditions
from atelier.wire.accel import ACCEL, UNPROXIED, file_size
from atelier.wire.preconditions import LOCKED, PRIVATE, Conditions, accepted, http_date
from atelier.wire.ranges import content_range, unsatisfied

CHUNK_BYTES = 256 * 1024


class Part(io.RawIOBase):
    """A file's bytes from `start` up to but excluding `stop`, as a file that ends there."""

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
    """The response to a download: the blob, subject to the request's conditions and range.

    Blobs never change, so their key is their entity tag. Only content that Atelier made itself may
    be shown by a browser instead of saved: `attachment=False`.
    """
    etag = key.rpartition("/")[2].partition("-")[0]
    conditions = conditions_of(request)
    preconditions.require(conditions, etag, modified)
    headers = {
        "ETag": f'"{etag}"',
        "Last-Modified": http_date(int(min(modified.timestamp(), time.time()))),
        "Cache-Control": PRIVATE,
        "Content-Security-Policy": LOCKED,
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
    }
    if preconditions.is_fresh(conditions, etag, modified):
        return not_modified(headers)
    head = request.method == "HEAD"
    span = None if head else preconditions.wanted_span(conditions, etag, modified, size)
    start, stop = span or (0, size)
    if start >= stop:
        return problems.from_status(416, headers=unsatisfied(size))
    headers["Content-Type"] = served(media_type)
    headers["Content-Disposition"] = content_disposition_header(attachment, name or "file")
    if location := _location(request, key, span):
        del headers["Accept-Ranges"]  # nginx adds it
        return HttpResponse(headers=headers | {ACCEL: location})
    headers["Content-Length"] = str(stop - start)
    if span:
        headers["Content-Range"] = content_range(start, stop, size)
    status = 206 if span else 200
    if head:
        return HttpResponse(status=status, headers=headers)
    part = Part(default_storage.open(key), start, stop)
    response = StreamingHttpResponse(
        iter(lambda: part.read(CHUNK_BYTES), b""), status=status, headers=headers
    )
    response.file_to_stream = part  # for WSGI servers with a file wrapper
    response.block_size = CHUNK_BYTES
    response._resource_closers.append(part.close)
    return response


def _location(request: HttpRequest, key: str, span: tuple[int, int] | None) -> str | None:
    """The blob's location for the proxy before us, if its response would equal ours.

    Raises NotFound if the file is gone.
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


def not_modified(headers: Mapping[str, str]) -> HttpResponse:
    """A 304, without what describes a content that is not there."""
    answer = HttpResponse(status=304, headers=headers)
    del answer["Content-Type"]
    return answer


def conditions_of(request: HttpRequest) -> Conditions:
    """The request's conditional headers."""
    given = request.headers
    return {name: given[name] for name in preconditions.NAMES if name in given}


def if_match(request: HttpRequest) -> Callable[[str], bool]:
    """The judge of entity tags that the request's If-Match makes. Raises Malformed."""
    return accepted(request.headers.get("If-Match"))
