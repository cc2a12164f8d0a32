"""JSON bodies, read strictly: of bounded size, valid UTF-8, without what no column can hold."""

from __future__ import annotations

from typing import Any

import orjson

from atelier.errors import Invalid, Malformed, TooLarge, Unsupported

LIMIT_BYTES = 256 * 1024  # of a body: parsed and checked in a few milliseconds
MEMBERS = 100  # of an object at the top: ours have far fewer, and each unknown one is an error


def is_json(content_type: str) -> bool:
    """Whether a Content-Type says JSON."""
    essence = content_type.partition(";")[0].strip().lower()
    return essence == "application/json" or (
        essence.startswith("application/") and essence.endswith("+json")
    )


def require_json(content_type: str) -> None:
    """Raise Unsupported for a body that does not say that it is JSON."""
    if not is_json(content_type):
        raise Unsupported("Send JSON, as application/json.")


def parse(body: bytes) -> Any:
    """The value of a body. Raises Malformed and Invalid."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"The body is not valid JSON: {error.msg}.") from None
    if rb"\u0000" in body and has_nul(value):
        raise Invalid("A text in the body holds a NUL character.")
    if isinstance(value, dict) and len(value) > MEMBERS:
        raise Invalid(f"The object has more than {MEMBERS} members.")
    return value


def has_nul(value: object) -> bool:
    """Whether any text in a JSON value holds a NUL, which no column can hold.

    It walks without recursion, for JSON may be deep.
    """
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if "\0" in item:
                return True
        elif isinstance(item, dict):
            waiting += [*item, *item.values()]
        elif isinstance(item, list):
            waiting += item
    return False


def depth(value: object) -> int:
    """How deep lists and objects lie in one another; 0 for anything else."""
    deepest, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        deepest += 1
        level = [
            inner
            for item in level
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return deepest


def too_large(limit: int = LIMIT_BYTES) -> TooLarge:
    """The refusal of a body over its limit, in bytes."""
    return TooLarge(f"A body of this kind may have {limit} bytes.")
