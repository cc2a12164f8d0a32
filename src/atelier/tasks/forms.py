"""The form of a queue: a question, and the fields that an answer to each of its tasks has.

Knows no store and no HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from atelier.errors import Invalid
from atelier.http.strict import one_line
from atelier.wire.complaints import A_TEXT, COMPLAINTS, REFUSED, REQUIRED, one_of, unknown
from atelier.wire.texts import LINE_LIMIT, clean

FIELDS, CHOICES = 20, 100  # of a form, and of a field
TEXT_LIMIT = 10_000  # characters of an answer in words
VALUE_LIMIT = 100  # characters of the value of a choice
_LINES = "\n\t"  # in a text of several lines
A_LIST = "A list is needed"
AN_OBJECT = "A JSON object with the fields of the queue's form is needed"


Line = Annotated[str, one_line(LINE_LIMIT), Field(min_length=1, max_length=LINE_LIMIT)]


class Choice(BaseModel):
    """One of the answers to choose from."""

    model_config = ConfigDict(strict=True, extra="forbid")

    value: Line = Field(
        description="What the answer says.", examples=["red"], max_length=VALUE_LIMIT
    )
    label: Line | None = Field(None, description="What people see; left out: the value.")
    key: str | None = Field(
        None,
        pattern=r"^[a-z0-9]$",
        max_length=1,
        description="The key that chooses it.",
        examples=["1"],
    )


class FormField(BaseModel):
    """One part of an answer."""

    model_config = ConfigDict(strict=True, extra="forbid")

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,39}$",
        max_length=40,
        description="Its name in `result`, and the column of exports.",
        examples=["light"],
    )
    label: Line | None = Field(None, description="What people see; left out: the name.")
    type: Literal["choice", "choices", "text"] = Field(
        description="`choice`: one value of `choices`; `choices`: a list of them; `text`: words."
    )
    choices: list[Choice] = Field(default_factory=list, max_length=CHOICES)
    required: bool = True

    @model_validator(mode="after")
    def _has_choices(self) -> Self:
        if (self.type == "text") == bool(self.choices):
            raise ValueError(
                "A text has no choices" if self.choices else "There must be choices to choose from"
            )
        _distinct([each.value for each in self.choices], "Two choices have the same value")
        return self


class Form(BaseModel):
    """The question to a queue's pictures, and what an answer consists of."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "question": "Which light is on?",
                    "fields": [
                        {
                            "name": "light",
                            "type": "choice",
                            "choices": [
                                {"value": "red", "key": "1"},
                                {"value": "green", "key": "2"},
                            ],
                        },
                        {"name": "remark", "type": "text", "required": False},
                    ],
                }
            ]
        },
    )

    question: Line
    fields: list[FormField] = Field(min_length=1, max_length=FIELDS)

    @model_validator(mode="after")
    def _is_unambiguous(self) -> Self:
        _distinct([each.name for each in self.fields], "Two fields have the same name")
        keys = [each.key for field in self.fields for each in field.choices if each.key]
        _distinct(keys, "Two choices have the same key")
        return self


def _distinct(names: list[str], complaint: str) -> None:
    if len(set(names)) < len(names):
        raise ValueError(complaint)


def check(form: Mapping[str, Any] | None, result: object) -> None:
    """Judge an answer by the form of its queue, as it is kept; None is no form, which takes any.

    Raises Invalid, which names each field that is not acceptable.
    """
    if form is None:
        return
    if not isinstance(result, dict):
        raise _refused([([], REQUIRED if result is None else AN_OBJECT)])
    fields = {field["name"]: field for field in form["fields"]}
    others = [name for name in result if name not in fields][: COMPLAINTS + 1]
    words = unknown(fields)
    wrong: list[tuple[list[str | int], str]] = [([name], words) for name in others]
    for name, field in fields.items():
        if result.get(name) is not None:
            wrong += [([name, *place], words) for place, words in _complaints(field, result[name])]
        elif field["required"]:
            wrong.append(([name], REQUIRED))
    if wrong:
        raise _refused(wrong)


def _refused(wrong: list[tuple[list[str | int], str]]) -> Invalid:
    errors = [{"loc": ["body", "result", *place], "msg": words} for place, words in wrong]
    return Invalid(REFUSED, errors=errors)


def _complaints(field: Mapping[str, Any], value: object) -> list[tuple[list[str | int], str]]:
    """The places in a value that are not acceptable, with the sentence for each."""
    if field["type"] == "text":
        return [([], words) for words in _of_text(value, required=field["required"])]
    values = [choice["value"] for choice in field["choices"]]
    if field["type"] == "choice":
        return [] if value in values else [([], one_of(values))]
    if not isinstance(value, list):
        return [([], A_LIST)]
    if words := _of_list(value, len(values), required=field["required"]):
        return [([], words)]
    return [([place], one_of(values)) for place, each in enumerate(value) if each not in values]


def _of_list(value: list[Any], most: int, *, required: bool) -> str | None:
    """The complaint about several choices together."""
    if required and not value:
        return "At least 1 item"
    if len(value) > most:
        return f"At most {most} items"
    if any(each in value[:place] for place, each in enumerate(value)):
        return "The same choice twice"
    return None


def _of_text(value: object, *, required: bool) -> list[str]:
    if not isinstance(value, str):
        return [A_TEXT]
    try:
        clean(value, int(required), TEXT_LIMIT, _LINES)
    except ValueError as error:
        return [str(error)]
    return []
