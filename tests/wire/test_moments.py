"""Moments as clients write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from atelier.wire.moments import moment


@pytest.mark.parametrize(
    "text", ["2026-11-30T19:30:00Z", "2026-11-30T22:30:00+03:00", "2026-11-30 19:30:00.000+00:00"]
)
def test_a_moment_is_in_utc(text: str) -> None:
    """Whatever its zone."""
    found = moment(text)
    assert found == datetime(2026, 11, 30, 19, 30, tzinfo=UTC)
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1_700_000_000, "written"),
        ("yesterday", "written"),
        ("2026-11-30T19:30:00 03:00", "written"),
        ("2026-11-30T19:30:00", "zone"),
        ("0001-01-01T00:00:00+01:00", "no such time"),
        ("9999-12-31T23:59:59-01:00", "no such time"),
    ],
)
def test_what_is_none_is_told_in_a_sentence(value: object, words: str) -> None:
    """Also a time that has no place in UTC, which the database's driver would fail at."""
    with pytest.raises(ValueError, match=words):
        moment(value)
