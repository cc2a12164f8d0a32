"""What requests make themselves depend on (RFC 9110, section 13): how OpenAPI says it, and what If-Match accepts.

Knows no framework: FastAPI's routes and Django's views say and mean the same. Entity tags are
without their quotes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from atelier.errors import Malformed

TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_PATTERN = r'(W/)?"[!#-~]*"'
_MALFORMED = (
    'An entity tag stands in quotes, as `ETag` gave it: `If-Match: "2"`, not `If-Match: 2`.'
)


def accepted(value: str | None) -> Callable[[str], bool]:
    """Whether an entity tag is one that an If-Match of this value accepts.

    Without the header every tag is.

    Raises Malformed for what is no list of entity tags.
    """
    if value is None or value.strip() == "*":
        return _anything
    if not TAG.search(value) or TAG.sub("", value).strip(", \t"):
        raise Malformed(_MALFORMED)
    return {
        tag for weak, tag in TAG.findall(value) if not weak
    }.__contains__  # the strong comparison


def _anything(_: str) -> bool:
    return True


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
IN_PART = {"parameters": [IF_NONE_MATCH, IF_MODIFIED_SINCE, RANGE, IF_RANGE]}
SAME: dict[int | str, dict[str, Any]] = {
    304: {"description": "What the client has is the present one."}
}
