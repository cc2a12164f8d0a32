"""Ready bytes as responses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from atelier.http.encoding import dumps
from atelier.http.json import Bodiless, json_response


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2026, 11, 21, 5, 44, 6, 123456, tzinfo=UTC), '"2026-11-21T05:44:06.123456Z"'),
        (datetime(2026, 11, 21, 5, 44, tzinfo=UTC), '"2026-11-21T05:44:00Z"'),
        (
            datetime(2026, 11, 21, 5, 44, tzinfo=timezone(timedelta(hours=3))),
            '"2026-11-21T05:44:00+03:00"',
        ),
        ("Ж😀", '"Ж😀"'),
        ("a\ud800b", '"a?b"'),
        ({"a\udfff": ["\ud800", {"x": 1}]}, '{"a?":["?",{"x":1}]}'),
    ],
)
def test_values_as_json(value: Any, text: str) -> None:
    """UTC ends in Z, text is UTF-8, and lone surrogates, which it cannot say, are replaced."""
    assert dumps(value).decode() == text


def test_bytes_are_json_already() -> None:
    """They are not encoded again; the length and the media type are there."""
    response = json_response(b'{"a":1}', 201, {"Location": "/x"})
    assert (response.status_code, response.body) == (201, b'{"a":1}')
    assert response.headers["content-length"] == "7"
    assert response.headers["content-type"] == "application/json"
    assert response.headers["location"] == "/x"


def test_no_body_no_length() -> None:
    """304 and 204 do not speak of a body."""
    assert dict(Bodiless(304, [(b"etag", b'"1"')]).headers) == {"etag": '"1"'}
