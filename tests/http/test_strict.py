"""JSON that is malformed, not UTF-8, undeclared or not storable is a client error, never a 500."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from atelier.http.app import create_app
from atelier.wire.strict_json import has_nul
from tests.http.support import in_process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from atelier.http.resources import Resources

router = APIRouter()
JSON = {"content-type": "application/json"}


class Note(BaseModel):
    """A body with a text, a number and anything."""

    model_config = ConfigDict(strict=True)

    text: str
    number: int = 0
    anything: Any = None


@router.post("/notes")
async def make(note: Note) -> Note:
    """Give it back."""
    return note


@pytest.fixture
async def client(resources: Resources) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the application."""
    async with in_process(create_app(resources, [router])) as client:
        yield client


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b"not json", 400),
        (b'{"text": "\xff"}', 400),
        (b'{"text": "\xed\xa0\x80"}', 400),  # a surrogate in UTF-8's clothes
        ('{"text": "a"}'.encode("utf-16"), 400),
        (rb'{"text": "\ud800"}', 400),
        (rb'{"text": "a", "anything": {"\udfff": 1}}', 400),
        (rb'{"text": "a\u0000b"}', 422),
        (rb'{"text": "a", "anything": [{"k\u0000": 1}]}', 422),
        (b'{"text": "a", "number": NaN}', 400),
        (b'{"text": "a", "number": 1e999}', 400),
        (b'{"text": "a", "number": ' + b"9" * 5000 + b"}", 400),
        (b'{"text": "a", "number": ' + b"9" * 30 + b"}", 422),
        (b'{"text": "a", "number": true}', 422),
        (b'{"text": "a", "number": "7"}', 422),
        (b'{"text": "a", "number": 7.0}', 422),
        (b'{"text": 7}', 422),
        (b"[" * 4000 + b"]" * 4000, 400),
        (b"[]", 422),
        (b"null", 422),
    ],
)
async def test_bad_json_is_refused(client: httpx2.AsyncClient, body: bytes, status: int) -> None:
    """400 for what cannot be read, 422 for what can be read but not accepted; always a problem."""
    answer = await client.post("/notes", content=body, headers=JSON)
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    ), answer.text


@pytest.mark.parametrize(
    "body", [rb'{"text": "\\u0000"}', '{"text": "Ж😀"}'.encode(), rb'{"text": "\ud83d\ude00"}']
)
async def test_good_json_is_taken(client: httpx2.AsyncClient, body: bytes) -> None:
    """A written-out backslash-u, Cyrillic, an emoji plain or as a pair of escapes are fine."""
    assert (await client.post("/notes", content=body, headers=JSON)).status_code == 200


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("application/merge-patch+json", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/jsonp", 415),
        ("", 415),
    ],
)
async def test_json_must_be_declared(
    client: httpx2.AsyncClient, content_type: str, status: int
) -> None:
    """A body of another media type, or of none, is 415."""
    answer = await client.post(
        "/notes", content=b'{"text": "a"}', headers={"content-type": content_type}
    )
    assert answer.status_code == status


def test_a_nul_is_found_at_any_depth() -> None:
    """Depth is no way around it."""
    value: Any = "\0"
    for _ in range(100_000):
        value = [value]
    assert has_nul(value)
    assert not has_nul({"a": [1, None, {"b": "c"}]})
