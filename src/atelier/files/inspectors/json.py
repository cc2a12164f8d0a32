"""JSON: its top level and depth, or the place of its first error.

JSON Lines count as records.
"""

from __future__ import annotations

from typing import Any

import orjson

from atelier.files.inspectors import Inspection, Task
from atelier.files.inspectors.clean import clean
from atelier.files.inspectors.guesses import Guess
from atelier.files.inspectors.text import decode, encoding_of

UTF8 = Guess("utf-8")
KEYS = 100  # of an object that a result shows
NODES = 1_000_000  # visited at most for depth and types
LINES_TYPE = "application/x-ndjson"
TYPES = {
    dict: "object",
    list: "array",
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
}


def inspect(task: Task, data: bytes) -> Inspection:
    """The shape of a document, or its first error."""
    guess = encoding_of(data, task.languages)
    utf8 = (
        data
        if guess == UTF8
        else "".join(decode(data, guess.encoding, "replace")).encode("utf-8", "replace")
    )
    about = guess.result()
    try:
        value = orjson.loads(utf8)
    except orjson.JSONDecodeError as error:
        records = _records(utf8)
        if records:
            return Inspection(
                "json", LINES_TYPE, about | {"valid": True, "format": "lines", "records": records}
            )
        place = {"line": error.lineno, "column": error.colno}
        return Inspection(
            "json", task.content_type, about | {"valid": False, "error": clean(error.msg)} | place
        )
    shape = (
        {"valid": True, "format": "document", "type": _type(value)}
        | _members(value)
        | _depth(value)
    )
    return Inspection("json", task.content_type, about | shape)


def _records(data: bytes) -> int:
    """The number of lines if every line is JSON, else 0."""
    count = 0
    for line in data.splitlines():
        if line.strip():
            try:
                orjson.loads(line)
            except orjson.JSONDecodeError:
                return 0
            count += 1
    return count if count > 1 else 0


def _type(value: object) -> str:
    return TYPES.get(type(value), "null")


def _members(value: object) -> dict[str, Any]:
    if isinstance(value, dict):
        return {"length": len(value), "keys": [clean(key) for key in list(value)[:KEYS]]}
    if isinstance(value, list):
        return {
            "length": len(value),
            "element_types": sorted({_type(item) for item in value[:NODES]}),
        }
    return {}


def _depth(value: object) -> dict[str, Any]:
    """Levels of objects and arrays, counted without recursion; None above `NODES` values."""
    level, depth, seen = [value], 0, 0
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        below: list[object] = []
        for item in level:
            below += item.values() if isinstance(item, dict) else item
            seen += len(item)
            if seen > NODES:
                return {"depth": None}
        level = below
    return {"depth": depth}
