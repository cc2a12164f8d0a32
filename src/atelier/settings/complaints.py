"""The expected form of a setting, for error messages.

Knows no value: it may be a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yaml import YAMLError

# By the types of https://docs.pydantic.dev/latest/errors/validation_errors/; braces take the
# values of the check.
COMPLAINTS = {
    "extra_forbidden": "is not a setting",
    "greater_than_equal": "should be {ge} or more",
    "less_than_equal": "should be {le} or less",
    "literal_error": "should be {expected}",
    **dict.fromkeys(
        ("int_type", "int_parsing", "int_parsing_size", "int_from_float"),
        "should be a whole number",
    ),
    **dict.fromkeys(("string_type", "path_type"), "should be a text"),
    "tuple_type": "should be a list",
}
FORMS = {
    "sizes": "sizes such as 100x100,500x500",
    "s3_region": "a region such as eu-central-1",
    "accel_prefix": "a path such as /_blobs/",
}


def complaint(name: str, error: Mapping[str, Any]) -> str:
    """Explain one of pydantic's errors about the setting of this name."""
    if error["type"] == "string_pattern_mismatch" and name in FORMS:
        return f"should be {FORMS[name]}"
    if words := COMPLAINTS.get(error["type"]):
        return words.format_map(error.get("ctx") or {})
    message: str = error["msg"].removeprefix("Value error, ")
    return f"{message[:1].lower()}{message[1:]}"


def flaw(error: Exception) -> str:
    """Return the place of the error in a settings file."""
    if mark := getattr(error, "problem_mark", None):
        return f"{getattr(error, 'problem', 'bad syntax')}, line {mark.line + 1}"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    if isinstance(error, UnicodeError | YAMLError):
        return "it is not text in UTF-8"
    return "it should hold lines such as `port: 8000`"
