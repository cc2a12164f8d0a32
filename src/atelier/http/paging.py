"""Keyset paging for FastAPI: the page that a request asks for, and its answer. Knows no table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from pydantic import Field
from starlette.responses import Response

from atelier.http.json import json_response
from atelier.http.strict import Decimal
from atelier.wire.paging import (
    CURSOR_CHARACTERS,
    CURSOR_PATTERN,
    CURSOR_TEXT,
    DEFAULT_LIMIT,
    LIMIT_TEXT,
    MAX_LIMIT,
    Keyset,
    keyset,
)

# Shown, not enforced: `keyset` judges a cursor, and says more than that it has another form.
_SHOWN = {"maxLength": CURSOR_CHARACTERS, "pattern": CURSOR_PATTERN}
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT), Decimal, Query(description=LIMIT_TEXT)]
Cursor = Annotated[
    Annotated[str, Field(json_schema_extra=_SHOWN)] | None, Query(description=CURSOR_TEXT)
]


async def asked(request: Request, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> Keyset:
    """The page that a request asks for."""
    scope = request.scope
    return keyset(scope["path"], scope["query_string"].decode(), limit, cursor)


Page = Annotated[Keyset, Depends(asked)]


def page_response(
    page: Keyset, records: Sequence[Mapping[str, Any]], *, by: str = "id"
) -> Response:
    """The JSON array of up to `fetch` records, newest first by the number `by` of each.

    With `Link` when more follow.
    """
    shown = records[: page.limit]
    more = len(records) > page.limit
    return json_response(shown, headers=page.headers(shown[-1][by]) if more else None)
