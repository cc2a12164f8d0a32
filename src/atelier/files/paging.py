"""Keyset paging for DRF, as in FastAPI's lists: bare arrays, newest first, `Link` to the next."""

from __future__ import annotations

from typing import Any

from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from atelier.wire.paging import (
    CURSOR_CHARACTERS,
    CURSOR_PATTERN,
    CURSOR_TEXT,
    DEFAULT_LIMIT,
    LIMIT_TEXT,
    MAX_LIMIT,
    OWN,
    keyset,
    read_limit,
)


class KeysetPagination(BasePagination):
    """A page begins below an id, so the last page costs as much as the first."""

    parameters = OWN

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        """The page's rows. Raises Invalid for a limit or cursor that is none."""
        query = request.META["QUERY_STRING"]
        limit = read_limit(request.GET.get("limit"))
        page = keyset(request.path, query, limit, request.GET.get("cursor"))
        if page.before is not None:
            queryset = queryset.filter(id__lt=page.before)
        rows = list(queryset.order_by("-id")[: page.fetch])
        self._headers = None
        if len(rows) > page.limit:
            rows.pop()
            self._headers = page.headers(rows[-1].id)
        return rows

    def get_paginated_response(self, data: Any) -> Response:
        """The bare array."""
        return Response(data, headers=self._headers)

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The bare array, for OpenAPI."""
        return schema

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """The query parameters, for OpenAPI."""
        size = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
        cursor = {"type": "string", "maxLength": CURSOR_CHARACTERS, "pattern": CURSOR_PATTERN}
        return [
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": description,
                "schema": schema,
            }
            for name, description, schema in (
                ("limit", LIMIT_TEXT, size),
                ("cursor", CURSOR_TEXT, cursor),
            )
        ]
