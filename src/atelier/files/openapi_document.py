"""This slice's part of the OpenAPI document, made from its URLs by drf-spectacular."""

from __future__ import annotations

import re
from typing import Any

from drf_spectacular.generators import SchemaGenerator

from atelier.files import urls
from atelier.files.authentication import right_to
from atelier.wire import problems
from atelier.wire.problems import MEDIA_TYPE

PROBLEM = {"$ref": "#/components/schemas/Problem"}


def document() -> dict[str, Any]:
    """The paths and components of this slice.

    The security scheme and the problem schema are those of the whole document.
    """
    schema: dict[str, Any] = SchemaGenerator(patterns=urls.documented).get_schema(public=True)
    schema["components"].pop("securitySchemes", None)
    paths = {}
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            operation.pop("x-name")
            operation["x-right"] = str(right_to(method.upper()))
            for status in {*operation.pop("x-errors"), 403}:
                operation["responses"][str(status)] = _problem(status)
        paths[re.sub(r"\{(\w+)\}", r"{\1}", path)] = item
    return {"paths": paths, "components": schema["components"]}


def _problem(status: int) -> dict[str, Any]:
    title = problems.from_status(status).document["title"]
    return {"description": title, "content": {MEDIA_TYPE: {"schema": PROBLEM}}}
