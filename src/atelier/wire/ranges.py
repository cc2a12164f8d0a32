"""Byte ranges (RFC 9110, section 14): the part of a content that a request asks for."""

from __future__ import annotations

import re

_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))", re.ASCII)


def parse_range(value: str, size: int) -> tuple[int, int] | None:
    """The first byte and the last byte plus one; None means the whole content.

    An empty span cannot be satisfied. Several ranges, other units and rubbish are ignored, as
    RFC 9110 14.2 allows.
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


def content_range(start: int, stop: int, size: int) -> str:
    """`Content-Range` of a 206."""
    return f"bytes {start}-{stop - 1}/{size}"


def unsatisfied(size: int) -> dict[str, str]:
    """The headers of a 416."""
    return {"Content-Range": f"bytes */{size}"}
