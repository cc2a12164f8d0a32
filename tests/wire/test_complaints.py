"""Messages about bad values: plain words for every mistake that our own schemas can meet."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from atelier.wire.complaints import complaint

JARGON = re.compile(r"Input|valid|Value error|parsing|unable|should", re.IGNORECASE)


def _refuse(_: object) -> object:
    raise ValueError("control characters are not allowed")


class Form(BaseModel):
    """One field of each kind that our schemas have."""

    model_config = ConfigDict(strict=True, extra="forbid")

    text: Annotated[str, Field(min_length=2, max_length=3, pattern="^[a-z]*$")] = "ab"
    number: Annotated[int, Field(ge=1, le=9)] = 1
    truth: bool = True
    choice: Literal["queued", "ready"] = "ready"
    items: Annotated[list[str], Field(max_length=1)] = []
    day: date = date(2000, 1, 1)
    secret: Annotated[SecretStr, Field(min_length=8, max_length=9)] = SecretStr("a" * 8)
    prepared: Annotated[str, BeforeValidator(str), Field(min_length=1)] = "a"
    own: Annotated[str, BeforeValidator(_refuse)] = ""
    inner: Inner | None = None


class Inner(BaseModel):
    """A field of objects."""

    name: str


Form.model_rebuild()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"text": 7}, "A text is needed"),
        ({"text": "a"}, "At least 2 characters"),
        ({"text": "abcd"}, "At most 3 characters"),
        ({"text": "A1"}, "This is not in the form that is needed"),
        ({"number": "x"}, "A whole number is needed"),
        ({"number": True}, "A whole number is needed"),
        ({"number": 1.5}, "A whole number is needed"),
        ({"number": 0}, "At least 1"),
        ({"number": 10}, "At most 9"),
        ({"truth": "perhaps"}, "true or false is needed"),
        ({"choice": "odd"}, "One of 'queued' or 'ready' is needed"),
        ({"items": "a"}, "A list is needed"),
        ({"items": ["a", "b"]}, "At most 1 item"),
        ({"secret": "a"}, "At least 8 characters"),
        ({"secret": "a" * 10}, "At most 9 characters"),
        ({"prepared": ""}, "At least 1 character"),
        ({"day": "yesterday"}, "A date is needed, written YYYY-MM-DD"),
        ({"own": "x"}, "Control characters are not allowed"),
        ({"inner": 7}, "A JSON object is needed"),
        ({"inner": {}}, "This field is required"),
        ({"titel": "x"}, "There is no such field"),
    ],
)
def test_mistakes_are_told_in_plain_words(values: dict[str, Any], message: str) -> None:
    """Each mistake has its sentence, without a word of the checker's own."""
    with pytest.raises(ValidationError) as caught:
        Form.model_validate(values)
    [said] = [complaint(error) for error in caught.value.errors()]
    assert said == message
    assert not JARGON.search(said)


def test_a_mistake_without_words_of_ours_is_still_told() -> None:
    """An unknown kind of mistake keeps the checker's own sentence."""
    assert complaint({"type": "never_heard_of", "msg": "something is odd"}) == "Something is odd"
