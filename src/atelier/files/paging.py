"""Keyset paging for DRF, as in FastAPI's lists: bare arrays, newest first, the next page in `Link`."""

from __future__ import annotations

import base64
import hashlib
import struct
from typing import Any
from urllib.parse import urlencode

from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from atelier.errors import Invalid

DEFAULT_LIMIT, MAX_LIMIT = 50, 500  # records of one page
_CURSOR = struct.Struct(
    ">q6s"
)  # the id below which the page begins, the digest of path and filters


class KeysetPagination(BasePagination):
    """A page begins below an id, so the last page costs what the first one does."""

    parameters = ("limit", "cursor")

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        """The page's rows. Raises Invalid for a limit or cursor that is none."""
        filters = [
            (name, value)
            for name, values in request.GET.lists()
            if name not in self.parameters
            for value in values
        ]
        limit = _limit(request.GET.get("limit"))
        mark = hashlib.blake2b(
            repr((request.path, sorted(filters))).encode(), digest_size=6
        ).digest()
        if (cursor := request.GET.get("cursor")) is not None:
            queryset = queryset.filter(id__lt=_before(cursor, mark))
        rows = list(queryset.order_by("-id")[: limit + 1])
        self._link = None
        if len(rows) > limit:
            rows.pop()
            packed = base64.urlsafe_b64encode(_CURSOR.pack(rows[-1].id, mark)).decode().rstrip("=")
            query = urlencode([*filters, ("limit", str(limit)), ("cursor", packed)])
            self._link = f'<{request.path}?{query}>; rel="next"'
        return rows

    def get_paginated_response(self, data: Any) -> Response:
        """The bare array; the next page stands in `Link`."""
        return Response(data, headers={"Link": self._link} if self._link else None)

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """For OpenAPI: the bare array."""
        return schema

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """For OpenAPI: what may be asked."""
        size = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
        return [
            {
                "name": "limit",
                "in": "query",
                "required": False,
                "description": "Records of one page.",
                "schema": size,
            },
            {
                "name": "cursor",
                "in": "query",
                "required": False,
                "description": "Where the page begins; take it from `Link` of the page before.",
                "schema": {"type": "string", "maxLength": 64, "pattern": "^[A-Za-z0-9_-]+$"},
            },
        ]


def _limit(given: str | None) -> int:
    if given is None:
        return DEFAULT_LIMIT
    if not (
        given.isascii()
        and given.isdigit()
        and len(given) <= len(str(MAX_LIMIT))
        and 1 <= int(given) <= MAX_LIMIT
    ):
        raise invalid("limit", f"A number from 1 to {MAX_LIMIT} is needed")
    return int(given)


def _before(cursor: str, mark: bytes) -> int:
    try:
        last_id, digest = _CURSOR.unpack(base64.b64decode(cursor + "=", b"-_", validate=True))
    except (ValueError, struct.error):
        raise invalid("cursor", "This is no cursor; take one from `Link`.") from None
    if digest != mark:
        raise invalid("cursor", "This cursor belongs to another list or other filters.")
    return int(last_id)


def invalid(name: str, message: str) -> Invalid:
    """One query parameter that is not acceptable."""
    return Invalid(
        "Some values are not acceptable.", errors=[{"loc": ["query", name], "msg": message}]
    )
