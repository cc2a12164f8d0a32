"""Keyset paging, newest first: a page begins below an id, so the last page costs what the first one does.

Knows no table. A cursor is opaque to clients and belongs to the path and the filters it was made
for.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode

from fastapi import Depends, Query, Request
from pydantic import Field
from starlette.responses import Response

from atelier.errors import Invalid
from atelier.http.json import json_response
from atelier.http.strict import Decimal

DEFAULT_LIMIT, MAX_LIMIT = 50, 500  # records of one page
_CURSOR = struct.Struct(
    ">q6s"
)  # the id below which the page begins, the digest of path and filters
CURSOR_CHARACTERS = 64  # ours have 19; the rest is for what may come
_OWN = ("limit", "cursor")


@dataclass(frozen=True, slots=True)
class Keyset:
    """One page of a list: at most `limit` records with ids below `before` (None: from the newest)."""

    limit: int
    before: int | None
    path: str
    filters: tuple[tuple[str, str], ...]

    @property
    def fetch(self) -> int:
        """How many rows to ask for: one more than the page holds tells whether there is another page."""
        return self.limit + 1

    def response(self, records: Sequence[Mapping[str, Any]]) -> Response:
        """The JSON array of up to `fetch` records, newest first, each with its `id`.

        With `Link` when more follow.
        """
        shown = records[: self.limit]
        return json_response(
            shown, headers=self.headers(shown[-1]["id"]) if len(records) > self.limit else None
        )

    def headers(self, last_id: int) -> dict[str, str]:
        """`Link` to the page that begins below `last_id`.

        It keeps the query's other parameters.
        """
        query = urlencode(
            [*self.filters, ("limit", str(self.limit)), ("cursor", self.cursor(last_id))]
        )
        return {"Link": f'<{self.path}?{query}>; rel="next"'}

    def cursor(self, last_id: int) -> str:
        """The cursor of the page that begins below `last_id`."""
        packed = _CURSOR.pack(last_id, _digest(self.path, self.filters))
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")


async def keyset(
    request: Request,
    limit: Annotated[
        int, Field(ge=1, le=MAX_LIMIT), Decimal, Query(description="Records of one page.")
    ] = DEFAULT_LIMIT,
    cursor: Annotated[
        str | None,
        Query(
            max_length=CURSOR_CHARACTERS,
            pattern="^[A-Za-z0-9_-]+$",
            description="Where the page begins; take it from `Link` of the page before.",
        ),
    ] = None,
) -> Keyset:
    """The page that a request asks for.

    Raises Invalid for a cursor that is not of this list and these filters.
    """
    scope = request.scope
    query = scope["query_string"]
    filters = tuple(
        (name, value)
        for name, value in parse_qsl(query.decode(), keep_blank_values=True)
        if name not in _OWN
    )
    path = scope["path"]
    return Keyset(limit, None if cursor is None else _read(cursor, path, filters), path, filters)


Page = Annotated[Keyset, Depends(keyset)]


def _read(cursor: str, path: str, filters: tuple[tuple[str, str], ...]) -> int:
    try:
        last_id, digest = _CURSOR.unpack(base64.b64decode(cursor + "=", b"-_", validate=True))
    except (ValueError, struct.error):
        raise _invalid("This is no cursor; take one from `Link`.") from None
    if digest != _digest(path, filters):
        raise _invalid("This cursor belongs to another list or other filters.")
    return int(last_id)


def _invalid(message: str) -> Invalid:
    return Invalid(
        "The cursor is not acceptable.", errors=[{"loc": ["query", "cursor"], "msg": message}]
    )


def _digest(path: str, filters: tuple[tuple[str, str], ...]) -> bytes:
    """Six bytes: not a signature, only a guard against mistakes.

    The caller's own rows are all it can lead to.
    """
    return hashlib.blake2b(
        repr((path, sorted(filters))).encode(errors="replace"), digest_size=6
    ).digest()
