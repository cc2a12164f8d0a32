"""Page tokens and page sizes by AIP-158, newest first by id. Knows no table.

A token is opaque to clients and belongs to the method and the filters it was made for; sizes may
change on the way.
"""

from __future__ import annotations

import base64
import hashlib
import struct

from atelier.errors import Invalid

DEFAULT_SIZE, MAX_SIZE = 50, 1000  # of one page
_TOKEN = struct.Struct(
    ">q6s"
)  # the id below which the page begins, the digest of method and filters


def page_size(asked: int) -> int:
    """How many to give: 0 leaves it to us, too many means as many as we give.

    Raises Invalid for less than nothing.
    """
    if asked < 0:
        raise _invalid("page_size", "must not be negative")
    return min(asked, MAX_SIZE) or DEFAULT_SIZE


def page_token(before: int, *query: str) -> str:
    """The token of the page whose ids are below `before`.

    `query` is the method and its filters.
    """
    return base64.urlsafe_b64encode(_TOKEN.pack(before, _digest(query))).decode().rstrip("=")


def read_token(token: str, *query: str) -> int | None:
    """The id that `page_token` was given; None for the first page.

    Raises Invalid for any other token.
    """
    if not token:
        return None
    try:
        before, digest = _TOKEN.unpack(
            base64.b64decode(token.encode(errors="replace") + b"=", b"-_", validate=True)
        )
    except (ValueError, struct.error):
        raise _invalid(
            "page_token", "is not a token of ours; take it from the page before"
        ) from None
    if digest != _digest(query):
        raise _invalid("page_token", "belongs to another list or other filters")
    return int(before)


def _invalid(field: str, message: str) -> Invalid:
    return Invalid(f"{field} {message}", errors=[{"loc": [field], "msg": message}])


def _digest(query: tuple[str, ...]) -> bytes:
    """Six bytes: not a signature, only a guard against mistakes.

    Rows that one may read are all a token leads to.
    """
    return hashlib.blake2b(repr(query).encode(errors="replace"), digest_size=6).digest()
