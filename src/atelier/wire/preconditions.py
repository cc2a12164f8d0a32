"""Conditional requests (RFC 9110, section 13): entity tags, dates, and how OpenAPI describes them.

Entity tags are without their quotes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from typing import Any, TypeAlias

from atelier.errors import Malformed, PreconditionFailed
from atelier.wire.ranges import parse_range

# The headers below that a request has, by their lower-case names; repeated ones joined by commas.
Conditions: TypeAlias = Mapping[str, str]

NAMES = frozenset(
    {
        "if-match",
        "if-unmodified-since",
        "if-none-match",
        "if-modified-since",
        "range",
        "if-range",
    }
)
PRIVATE = "private, no-cache"  # Cache-Control: its reader alone keeps it, and asks before each use
# Of an address that names the state of its content: another state has another address.
LASTING = "private, max-age=31536000, immutable"
LOCKED = "default-src 'none'; sandbox"  # Content-Security-Policy: an upload never runs as a page
_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_PATTERN = r'(W/)?"[!#-~]*"'
_MALFORMED = (
    'An entity tag stands in quotes, as `ETag` gave it: `If-Match: "2"`, not `If-Match: 2`.'
)


def accepted(value: str | None) -> Callable[[str], bool]:
    """The judge of entity tags that an If-Match makes; without one all are accepted.

    Raises Malformed for what is no list of entity tags.
    """
    if value is None or value.strip() == "*":
        return _anything
    if not _TAG.search(value) or _TAG.sub("", value).strip(", \t"):
        raise Malformed(_MALFORMED)
    strong = {tag for weak, tag in _TAG.findall(value) if not weak}
    return strong.__contains__


def _anything(_: str) -> bool:
    return True


def require(conditions: Conditions, etag: str, modified: datetime) -> None:
    """Hold a content to If-Match, and without one to If-Unmodified-Since.

    Raises PreconditionFailed for another state than the present, Malformed for no entity tags.
    """
    if (tags := conditions.get("if-match")) is not None:
        if not accepted(tags)(etag):
            raise PreconditionFailed("The content has another entity tag.")
        return
    since = _date(conditions.get("if-unmodified-since"))
    if since is not None and _second(modified) > since:
        raise PreconditionFailed("The content has changed since then.")


def is_fresh(conditions: Conditions, etag: str, modified: datetime | None) -> bool:
    """Whether the client has the present state: 304.

    If-Modified-Since counts only without If-None-Match, and where there is a date to compare.
    """
    if (tags := conditions.get("if-none-match")) is not None:
        # The weak comparison: `W/` makes no difference.
        return tags.strip() == "*" or any(tag == etag for _, tag in _TAG.findall(tags))
    since = _date(conditions.get("if-modified-since"))
    return since is not None and modified is not None and _second(modified) <= since


def wanted_span(
    conditions: Conditions, etag: str, modified: datetime, size: int
) -> tuple[int, int] | None:
    """The span that Range and If-Range ask for, as `parse_range` gives it."""
    wanted = conditions.get("range")
    if wanted is None or not _range_applies(conditions.get("if-range"), etag, modified):
        return None
    return parse_range(wanted, size)


def _range_applies(condition: str | None, etag: str, modified: datetime) -> bool:
    """The range counts only for the state of which the client has a part."""
    if condition is None:
        return True
    if condition.strip().endswith('"'):
        return condition.strip() == f'"{etag}"'
    return _date(condition) == _second(modified)


def http_date(seconds: int) -> str:
    """The form of Last-Modified, of Unix seconds."""
    return formatdate(seconds, usegmt=True)


def _second(moment: datetime) -> datetime:
    """A date in a header has no fraction."""
    return moment.replace(microsecond=0)


def _date(value: str | None) -> datetime | None:
    """An HTTP date; rubbish is no condition."""
    if value is None:
        return None
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _header(name: str, description: str, **schema: str) -> dict[str, Any]:
    """A header as OpenAPI describes parameters.

    No example: pages to try the API would send it with every request.
    """
    shape = {"type": "string", "maxLength": 1000, **schema}
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": shape,
    }


IF_MATCH = _header(
    "If-Match",
    'The `ETag` that was read, in its quotes (`"2"`): has the object changed since, the answer '
    "is 412 and it stays.",
    pattern=rf"^(\*|{_PATTERN}(, *{_PATTERN})*)$",
)
IF_UNMODIFIED_SINCE = _header(
    "If-Unmodified-Since",
    "The `Last-Modified` of the part that one has: 412 when the content has changed since.",
)
IF_NONE_MATCH = _header(
    "If-None-Match", "The `ETag` of what one has: 304 when it is still the present one."
)
IF_MODIFIED_SINCE = _header(
    "If-Modified-Since",
    "The `Last-Modified` of what one has: 304 when it is still the present one.",
)
RANGE = _header(
    "Range", "The part that is wanted, as `bytes=0-99`: 206. What cannot be read so is ignored."
)
IF_RANGE = _header(
    "If-Range",
    "With `Range`: the `ETag` or `Last-Modified` of the rest; of another, the whole comes.",
)

# What `openapi_extra` of a route takes: for changes, for records, and for pictures and other
# contents.
ON_MATCH = {"parameters": [IF_MATCH]}
UNLESS_SAME = {"parameters": [IF_NONE_MATCH]}
IN_PART = {
    "parameters": [
        IF_MATCH,
        IF_UNMODIFIED_SINCE,
        IF_NONE_MATCH,
        IF_MODIFIED_SINCE,
        RANGE,
        IF_RANGE,
    ]
}
SAME: dict[int | str, dict[str, Any]] = {
    304: {"description": "What the client has is the present one."}
}
