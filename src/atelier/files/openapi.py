"""This slice's part of the OpenAPI document, by drf-spectacular."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema

from atelier.files import searches
from atelier.files.serializers import (
    FileMovedSerializer,
    FileMovingSerializer,
    FileSerializer,
    UploadSerializer,
)
from atelier.wire.idempotency import HEADER, KEY_SCHEMA, KEY_TEXT
from atelier.wire.preconditions import IN_PART, ON_MATCH, UNLESS_SAME
from atelier.wire.searches import SEARCH_LIMIT
from atelier.wire.spaces import MAX_ID, PARAMETER, TEXT

View = TypeVar("View", bound="Callable[..., Any]")

TAG = "files"
_FILE = OpenApiResponse(OpenApiTypes.BINARY, "The content.")
_PART = OpenApiResponse(None, "The part of the content that Range asked for.")
_SAME = OpenApiResponse(None, "What the client has is the present one.")
_ID = OpenApiParameter(
    "file_id",
    {"type": "integer", "minimum": 1, "maximum": 2**63 - 1},
    OpenApiParameter.PATH,
    description="The file.",
)
_KEY = OpenApiParameter(
    HEADER, {"type": "string", **KEY_SCHEMA}, OpenApiParameter.HEADER, description=KEY_TEXT
)


def _headers(extra: dict[str, list[dict[str, Any]]]) -> list[OpenApiParameter]:
    return [
        OpenApiParameter(
            said["name"], said["schema"], OpenApiParameter.HEADER, description=said["description"]
        )
        for said in extra["parameters"]
    ]


_SPACE = OpenApiParameter(
    PARAMETER, {"type": "integer", "minimum": 1, "maximum": MAX_ID}, description=TEXT
)
_FILTERS = [
    _SPACE,
    OpenApiParameter(
        "status",
        str,
        enum=["queued", "processed", "failed"],
        description="Only files of this status.",
    ),
    OpenApiParameter(
        "kind",
        str,
        enum=["image", "text", "csv", "json", "pdf", "archive", "other"],
        description="Only files of this kind.",
    ),
    OpenApiParameter(
        searches.PARAMETER,
        {"type": "string", "maxLength": SEARCH_LIMIT},
        description="Only files with this in their name.",
    ),
]
# Request, response and own errors of each operation.
OPERATIONS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "upload": (
        {
            "request": {"multipart/form-data": UploadSerializer},
            "responses": {201: FileSerializer},
            "parameters": [_SPACE, _KEY],
        },
        (400, 403, 404, 409, 413, 415, 503),
    ),
    "index": (
        {"responses": {200: FileSerializer(many=True)}, "parameters": _FILTERS},
        (404, 429, 503),
    ),
    "move": (
        {
            "request": {"application/json": FileMovingSerializer},
            "responses": {200: FileMovedSerializer},
        },
        (400, 404, 413, 415),
    ),
    "detail": (
        {
            "responses": {200: FileSerializer, 304: _SAME},
            "parameters": [_ID, *_headers(UNLESS_SAME)],
        },
        (404,),
    ),
    "delete": (
        {"responses": {204: None}, "parameters": [_ID, *_headers(ON_MATCH)]},
        (400, 404, 412),
    ),
    "retry": (
        {
            "request": None,
            "responses": {202: FileSerializer},
            "parameters": [_ID, *_headers(ON_MATCH)],
        },
        (400, 404, 409, 412),
    ),
    "content": (
        {
            "responses": {(200, "*/*"): _FILE, 206: _PART, 304: _SAME},
            "parameters": [_ID, *_headers(IN_PART)],
        },
        (400, 404, 412, 416),
    ),
    "thumbnail": (
        {
            "responses": {(200, "image/*"): _FILE, 206: _PART, 304: _SAME},
            "parameters": [_ID, *_headers(IN_PART)],
        },
        (400, 404, 412, 416),
    ),
}


def describe(name: str) -> Callable[[View], View]:
    """Document a view's method as the operation of that name.

    Each operation refuses unknown query parameters.
    """
    known, errors = OPERATIONS[name]
    described: Callable[[View], View] = extend_schema(
        tags=[TAG], extensions={"x-errors": sorted({*errors, 422}), "x-name": name}, **known
    )
    return described


class Operation(AutoSchema):
    """Operation ids and deprecation by path: the root has the specification's spelling."""

    def get_operation_id(self) -> str:
        """`files.upload`; at the root `files.upload.root`."""
        name = (self.get_extensions() or {})["x-name"]
        return f"{TAG}.{name}{'' if self._canonical else '.root'}"

    def is_deprecated(self) -> bool:
        """True if the operation has a canonical path elsewhere."""
        return not self._canonical

    def get_tags(self) -> list[str]:
        """One tag for all."""
        return [TAG]

    @property
    def _canonical(self) -> bool:
        return bool(self.path.startswith("/api/"))


class Bearer(OpenApiAuthenticationExtension):
    """The security scheme that the whole document uses for bearer tokens."""

    target_class = "atelier.files.authentication.BearerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        """The scheme's definition, for the document of this slice alone."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
