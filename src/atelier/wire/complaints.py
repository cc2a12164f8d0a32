"""Sentences that tell a client which value is not acceptable, and why; never the value."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from atelier.errors import Invalid

T = TypeVar("T")

COMPLAINTS = 20  # in one answer: the rest of thousands would help nobody
REFUSED = "Some values are not acceptable."  # the detail; the sentences follow in `errors`
REQUIRED = "This field is required"
A_TEXT = "A text is needed"
UNKNOWN = "There is no such field"
UNKNOWN_PARAMETER = "There is no such parameter"
TWICE = "Given twice"
DECIMAL = "A number in decimal digits is needed"
A_NUMBER = "A whole number is needed"
_TRUTH = "true or false is needed"
_OBJECT = "A JSON object is needed"
_DATE = "A date is needed, written YYYY-MM-DD"

# By the types of https://docs.pydantic.dev/latest/errors/validation_errors/; braces take what the
# check knows.
MESSAGES = {
    "missing": REQUIRED,
    "extra_forbidden": UNKNOWN,
    "string_type": A_TEXT,
    "string_unicode": A_TEXT,
    "string_too_long": "At most {max_length} characters",
    "string_too_short": "At least {min_length} characters",
    "string_pattern_mismatch": "This is not in the form that is needed",
    "int_type": A_NUMBER,
    "int_parsing": A_NUMBER,
    "int_parsing_size": A_NUMBER,
    "int_from_float": A_NUMBER,
    "greater_than_equal": "At least {ge}",
    "greater_than": "More than {gt}",
    "less_than_equal": "At most {le}",
    "less_than": "Less than {lt}",
    "bool_type": _TRUTH,
    "bool_parsing": _TRUTH,
    "literal_error": "One of {expected} is needed",
    "enum": "One of {expected} is needed",
    "list_type": "A list is needed",
    "too_long": "At most {max_length} items",
    "too_short": "At least {min_length} items",
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "dict_type": _OBJECT,
    "date_type": _DATE,
    "date_parsing": _DATE,
    "date_from_datetime_parsing": _DATE,
    "uuid_type": "A UUID is needed",
    "uuid_parsing": "A UUID is needed",
}
_ONE = re.compile(r"\b(1 (?:character|item))s\b")


def complaint(error: Mapping[str, Any]) -> str:
    """The sentence for one of pydantic's errors."""
    if words := MESSAGES.get(error["type"]):
        told = error.get("ctx") or {}
        if told.get("field_type") == "Value":  # how long a text is that was prepared before
            words = words.replace("items", "characters")
        return _ONE.sub(r"\1", words.format_map(told))
    message: str = error["msg"].removeprefix("Value error, ")
    return message[:1].upper() + message[1:]


def refused(message: str, *loc: str | int) -> Invalid:
    """The refusal of one value; `loc` is its place, such as `"query", "limit"`."""
    return Invalid(REFUSED, errors=[{"loc": list(loc), "msg": message}])


def accepted(judge: Callable[[], T], *loc: str | int) -> T:
    """What `judge` gives; the ValueError that it raises, as the refusal of the value at `loc`."""
    try:
        return judge()
    except ValueError as error:
        raise refused(str(error), *loc) from None


def listed(error: Invalid) -> tuple[str, list[dict[str, Any]]]:
    """The detail of a refusal and its first complaints; the detail says when there are more."""
    if len(error.errors) <= COMPLAINTS:
        return error.detail, error.errors
    more = f"These are the first {COMPLAINTS} complaints; there are more."
    return f"{error.detail} {more}".lstrip(), error.errors[:COMPLAINTS]


def one_of(choices: Sequence[str]) -> str:
    """The sentence for a value that is none of the choices, as pydantic would list them."""
    *most, last = (f"'{choice}'" for choice in choices)
    return MESSAGES["enum"].format(
        expected=" or ".join([", ".join(most), last] if most else [last])
    )


def unknown(there: Collection[str], words: str = UNKNOWN) -> str:
    """The sentence for an unknown name, with those that exist."""
    named = ", ".join(f"`{name}`" for name in there)
    return f"{words}; there {'is' if len(there) == 1 else 'are'} {named or 'none'}"


def unknown_parameters(names: Sequence[str], there: Collection[str]) -> Invalid:
    """The refusal of query parameters that an operation does not have.

    `there` are those that it has.
    """
    message = unknown(there, UNKNOWN_PARAMETER)
    names = names[: COMPLAINTS + 1]
    return Invalid(REFUSED, errors=[{"loc": ["query", name], "msg": message} for name in names])
