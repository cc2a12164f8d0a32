"""The reference page of the HTTP API: each operation, from the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

METHODS = ("get", "post", "put", "patch", "delete")
HEAD = ["| name | in | what | meaning |", "|---|---|---|---|"]
BOUNDS = (
    ("minimum", "maximum", ""),
    ("minLength", "maxLength", " characters"),
    ("minItems", "maxItems", " items"),
)
LARGEST = 2**53  # a bound beyond says no more than "an id"


def page(document: dict[str, Any], made: str) -> str:
    """The whole page, `made` being the remark that it is generated."""
    operations = list(_operations(document))
    current = [
        (name, operation) for name, operation in operations if not operation.get("deprecated")
    ]
    return "\n".join(
        [
            "# HTTP API",
            made,
            "",
            (
                "The whole document is at `/openapi.json`, with a page to try it at `/docs`. "
                "Errors are problem+json:"
            ),
            (
                "[errors.md](errors.md). Lists are newest first, in pages of `limit`; "
                '`Link: <...>; rel="next"` leads on.'
            ),
            (
                "Reads honour `If-None-Match`, pictures and contents also `Range`; changes honour "
                "`If-Match`."
            ),
            "Lengths that are settings are shown with their defaults.",
            "",
            "| operation | needs | answers | what it does |",
            "|---|---|---|---|",
            *(_row(name, operation) for name, operation in operations),
            "",
            "## What each takes",
            "",
            *(line for name, operation in current for line in _section(document, name, operation)),
        ]
    )


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in sorted(document["paths"].items()):
        for method in METHODS:
            if method in item:
                yield f"{method.upper()} {path}", item[method]


def _row(name: str, operation: dict[str, Any]) -> str:
    secured = "token" if operation.get("security", True) else "-"
    mark = " (deprecated)" if operation.get("deprecated") else ""
    answers = ", ".join(sorted(operation["responses"]))
    summary = f"{operation['summary']}. {_words(operation['description'])}"
    return f"| `{name}` | {secured} | {answers} | {summary}{mark} |"


def _section(document: dict[str, Any], name: str, operation: dict[str, Any]) -> list[str]:
    rows = [
        _field(document, parameter["name"], parameter["in"], parameter["schema"], parameter)
        for parameter in operation.get("parameters", ())
    ]
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        kind = {"application/json": "JSON", "multipart/form-data": "form"}.get(
            media_type, f"`{media_type}`"
        )
        schema = _shown(document, content["schema"])
        required = schema.get("required", ())
        rows += [
            _field(document, field, kind, said, said | {"required": field in required})
            for field, said in schema.get("properties", {}).items()
        ]
    return [f"### {name}", "", *HEAD, *rows, ""] if rows else []


def _field(
    document: dict[str, Any], name: str, place: str, schema: dict[str, Any], said: dict[str, Any]
) -> str:
    needed = "**needed**, " if said.get("required") is True else ""
    meaning = _words(said.get("description") or schema.get("description"))
    default = schema.get("default")
    shown = f" Default: `{default}`." if default not in (None, "", []) else ""
    return f"| `{name}` | {place} | {needed}{_shape(document, schema)} | {meaning}{shown} |"


def _shape(document: dict[str, Any], schema: dict[str, Any]) -> str:
    """A value's type, choices, form and bounds."""
    schema = _shown(document, schema)
    if choices := schema.get("enum"):
        return "one of " + ", ".join(f"`{choice}`" for choice in choices)
    kind = schema.get("format") if schema.get("type") == "string" else None
    kind = kind or schema.get("contentEncoding") or schema.get("type", "any")
    if kind == "array":
        return f"array of {_shape(document, schema['items'])}{_bounds(schema)}"
    return f"{kind}{_bounds(schema)}"


def _bounds(schema: dict[str, Any]) -> str:
    for least, most, unit in BOUNDS:
        low, high = schema.get(least), schema.get(most)
        if high is not None and high < LARGEST:
            return f" ({f'{low} to' if low else 'at most'} {high}{unit})"
    return ""


def _shown(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The schema behind a reference, and of one that may be null what it is else."""
    if reference := schema.get("$ref"):
        return _shown(document, document["components"]["schemas"][reference.rpartition("/")[2]])
    for variant in schema.get("anyOf", ()) or schema.get("oneOf", ()) or schema.get("allOf", ()):
        if variant.get("type") != "null":
            return _shown(document, variant)
    return schema


def _words(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", r"\|")
