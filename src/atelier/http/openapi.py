"""The one OpenAPI 3.1 document: FastAPI's, completed, and merged with those of other parts.

Completed means: every operation says its security (none, when public), its errors as problem+json,
and an operation id that reads well in generated clients; every integer its width, every page its
length.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from atelier.http import problems
from atelier.http.auth import SESSION_SCHEME, check_of
from atelier.wire.paging import MAX_LIMIT
from atelier.wire.problems import MEDIA_TYPE

if TYPE_CHECKING:
    from atelier.settings import Settings

Document = dict[str, Any]

OPENAPI = "3.1.0"
TITLE = "Atelier"
DESCRIPTION = (
    "Pictures, files, tasks and books. Create an account, then sign in: with **Authorize** on the "
    "page `/docs`, else at `POST /api/auth/token`, and send the access token as "
    "`Authorization: Bearer ...`. Errors are `application/problem+json` (RFC 9457); the `type` of "
    "each leads to a page that explains it. Lists are newest first; the next page is in "
    '`Link: <...>; rel="next"`. Query parameters that an operation does not list are refused.'
)
LICENSE = {"name": "MIT", "identifier": "MIT"}
CONTACT = {"name": "Atelier"}
TAGS = {
    "accounts": "Create an account, sign in, sign out, delete the account.",
    "spaces": "What teams share: spaces, their members and roles.",
    "invitations": "One-time links by which people come into a space.",
    "keys": "API keys: for programs, bound to one space and some rights.",
    "images": "Pictures: uploaded, processed in the background, captioned, served.",
    "files": "Files of any kind, inspected in the background.",
    "tasks": "Pictures to be worked on by people, each handed out once.",
    "queues": "Named sets of tasks, with the form that their answers have.",
    "books": "One catalogue that all users share.",
    "trash": "Deleted pictures, tasks and files, which can be restored for some days.",
    "events": "What happened, live and as a history.",
    "health": "For monitoring: is the service alive and ready, and what has it done.",
}
SESSION = "session"  # the security scheme of browsers
METHODS = frozenset({"get", "put", "post", "delete", "patch", "head", "options", "trace"})
ANY_PROBLEM = {
    "description": "Any other problem.",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
FASTAPI_ERRORS = (
    "HTTPValidationError",
    "ValidationError",
)  # its own shape of a 422, which is never sent


def build(routes: Sequence[BaseRoute], settings: Settings) -> Document:
    """The document of these routes under these settings."""
    name_operations(routes)
    document = get_openapi(
        title=TITLE,
        version=version("atelier"),
        openapi_version=OPENAPI,
        description=DESCRIPTION,
        routes=routes,
        servers=[{"url": "/"}],
        contact=dict(CONTACT),
        license_info=dict(LICENSE),
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in FASTAPI_ERRORS:
        schemas.pop(name, None)
    schemas["Problem"] = problems.SCHEMA
    document["components"].setdefault("securitySchemes", {})[SESSION] = SESSION_SCHEME
    _say_rights(document, routes)
    for _, operation in operations(document):
        _complete(operation)
    _widen(document)
    limit(document, settings)
    document["tags"] = _tags(document)
    return document


def _say_rights(document: Document, routes: Iterable[BaseRoute]) -> None:
    """Say of each operation which right an API key needs (`x-right`); none: no key may use it."""
    for route in routes:
        check = check_of(route) if isinstance(route, APIRoute) else None
        if check is None or not isinstance(route, APIRoute) or not route.include_in_schema:
            continue
        for method in route.methods or ():
            operation = document["paths"][route.path_format][method.lower()]
            if check.right is not None:
                operation["x-right"] = str(check.right)
            if check.right is not None or check.person:
                operation["responses"].setdefault("403", problems.describe(403))


def operations(document: Document) -> Iterator[tuple[str, Document]]:
    """Every operation, with its method and path as one word: `get /api/images`."""
    for path, item in document.get("paths", {}).items():
        for method, operation in item.items():
            if method in METHODS:
                yield f"{method} {path}", operation


def name_operations(routes: Iterable[BaseRoute]) -> None:
    """Give each route an operation id: `images.upload`.

    A second path of the same function gets a number.
    """
    taken: set[str] = set()
    for route in routes:
        if not isinstance(route, APIRoute) or not route.include_in_schema:
            continue
        if route.operation_id is None:
            base = ".".join([*(str(tag) for tag in route.tags[:1]), route.name.strip("_")])
            ids = (base, *(f"{base}.{number}" for number in range(2, len(taken) + 3)))
            route.operation_id = next(name for name in ids if name not in taken)
        taken.add(route.operation_id)


def _complete(operation: Document) -> None:
    _summarize(operation)
    operation.setdefault("security", [])
    answers = operation.setdefault("responses", {})
    if operation["security"] == [{"bearer": []}]:
        operation["security"].append({SESSION: []})
    if operation["security"]:
        answers.setdefault("401", problems.describe(401))
    if "requestBody" in operation:
        for status in (400, 413, 415, 422):
            answers.setdefault(str(status), problems.describe(status))
    if MEDIA_TYPE not in answers.get("422", {}).get("content", {MEDIA_TYPE: {}}):
        answers["422"] = problems.describe(422)
    answers.setdefault("500", problems.describe(500))
    answers.setdefault("default", ANY_PROBLEM)
    operation["responses"] = dict(sorted(answers.items()))
    if any(parameter.get("name") == "cursor" for parameter in operation.get("parameters", ())):
        page = answers["200"]["content"]["application/json"]["schema"]
        if page.get("type") == "array":
            page.setdefault("maxItems", MAX_LIMIT)


def _summarize(operation: Document) -> None:
    """Make the first line of a description the summary, in place of the function's name."""
    summary, _, rest = operation.get("description", "").partition("\n")
    if summary:
        operation["summary"] = summary.removesuffix(".")
        operation["description"] = rest.strip() or summary


def limit(schema: object, settings: Settings) -> None:
    """Say how long the texts may be whose limit is a setting: `x-limit` names it."""
    if isinstance(schema, dict) and (name := schema.pop("x-limit", None)):
        schema["maxLength"] = getattr(settings, name)
    parts = (
        schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    )
    for part in parts:
        limit(part, settings)


def _widen(schema: object) -> None:
    """Give integers without a format 64 bits: generated clients take 32 otherwise.

    And its bounds as integers, too, of which FastAPI makes 1.0.
    """
    if isinstance(schema, dict):
        if schema.get("type") == "integer" or "integer" in _types(schema):
            schema.setdefault("format", "int64")
            schema |= {
                bound: int(schema[bound]) for bound in ("minimum", "maximum") if bound in schema
            }
        for part in schema.values():
            _widen(part)
    elif isinstance(schema, list):
        for part in schema:
            _widen(part)


def _types(schema: Document) -> list[str]:
    """The types of a schema that may be one of several."""
    found = schema.get("type")
    return found if isinstance(found, list) else []


def _tags(document: Document) -> list[Document]:
    """The tags in use, in the order of `TAGS`, then the unknown ones."""
    used = {tag for _, operation in operations(document) for tag in operation.get("tags", ())}
    names = [tag for tag in TAGS if tag in used] + sorted(used - TAGS.keys())
    return [
        {"name": name, "description": TAGS[name]} if name in TAGS else {"name": name}
        for name in names
    ]


def merge(document: Document, other: Document) -> Document:
    """Both documents in one.

    Raises ValueError when they claim the same path, operation id or component differently.

    What `other` has is completed like our own; an operation of it without `security` inherits its
    document's.
    """
    merged, other = copy.deepcopy(document), copy.deepcopy(other)
    for _, operation in operations(other):
        if "security" in other:
            operation.setdefault("security", other["security"])
        _complete(operation)
    if shared := merged["paths"].keys() & other.get("paths", {}).keys():
        raise ValueError(f"two parts describe {', '.join(sorted(shared))}")
    merged["paths"].update(other.get("paths", {}))
    for section, components in other.get("components", {}).items():
        _join(merged.setdefault("components", {}).setdefault(section, {}), components)
    ids = [operation["operationId"] for _, operation in operations(merged)]
    if twice := {name for name in ids if ids.count(name) > 1}:
        raise ValueError(f"two operations are called {', '.join(sorted(twice))}")
    _widen(merged)
    described = {tag["name"]: tag for tag in other.get("tags", ())}
    merged["tags"] = [described.get(tag["name"], {}) | tag for tag in _tags(merged)]
    return merged


def _join(into: Document, components: Document) -> None:
    for name, component in components.items():
        if into.setdefault(name, component) != component:
            raise ValueError(f"two parts have a component {name}, and they differ")
