"""This slice's part of the OpenAPI document, by drf-spectacular."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema

from atelier.files.serializers import FileSerializer, UploadSerializer
from atelier.http.preconditions import IN_PART, ON_MATCH, UNLESS_SAME

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
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x21-\\x7e]+$"},
    OpenApiParameter.HEADER,
    description="Makes the request safe to repeat: the same key and content are answered from "
    "the first run.",
)


def _headers(extra: dict[str, list[dict[str, Any]]]) -> list[OpenApiParameter]:
    return [
        OpenApiParameter(
            said["name"], said["schema"], OpenApiParameter.HEADER, description=said["description"]
        )
        for said in extra["parameters"]
    ]


_FILTERS = [
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
]
# What an operation takes and gives when all goes well, and the errors that are its own.
OPERATIONS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "upload": (
        {
            "request": {"multipart/form-data": UploadSerializer},
            "responses": {201: FileSerializer},
            "parameters": [_KEY],
        },
        (400, 409, 413, 415, 503),
    ),
    "index": ({"responses": {200: FileSerializer(many=True)}, "parameters": _FILTERS}, ()),
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
        (404, 416),
    ),
    "thumbnail": (
        {
            "responses": {(200, "image/*"): _FILE, 206: _PART, 304: _SAME},
            "parameters": [_ID, *_headers(IN_PART)],
        },
        (404, 416),
    ),
}


def describe(name: str) -> Callable[[View], View]:
    """Document a view's method as the operation of that name.

    Each refuses query parameters that it does not know.
    """
    known, errors = OPERATIONS[name]
    described: Callable[[View], View] = extend_schema(
        tags=[TAG], extensions={"x-errors": sorted({*errors, 422}), "x-name": name}, **known
    )
    return described


class Operation(AutoSchema):
    """Operation ids and deprecation by path: what stands at the root is the seed's spelling."""

    def get_operation_id(self) -> str:
        """`files.upload`; at the root `files.upload.root`."""
        name = (self.get_extensions() or {})["x-name"]
        return f"{TAG}.{name}{'' if self._canonical else '.root'}"

    def is_deprecated(self) -> bool:
        """Whether there is a better address for the same."""
        return not self._canonical

    def get_tags(self) -> list[str]:
        """The one tag of all operations."""
        return [TAG]

    @property
    def _canonical(self) -> bool:
        return bool(self.path.startswith("/api/"))


class Bearer(OpenApiAuthenticationExtension):
    """The scheme under which the whole document knows bearer tokens."""

    target_class = "atelier.files.authentication.BearerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        """For the document of this slice alone."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
