"""Byte ranges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atelier.wire.ranges import parse_range

SIZE = 1000


@pytest.mark.parametrize(
    "value",
    [
        "bytes=0-1,4-5",
        "items=0-1",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=5-2",
        "bytes=a-b",
        "bytes=٣-٤",
        "bytes=" + "9" * 40 + "-",
    ],
)
def test_ranges_that_are_ignored(value: str) -> None:
    """Several parts, other units and rubbish mean the whole."""
    assert parse_range(value, SIZE) is None


@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 1500))
def test_a_span_is_what_a_slice_of_the_content_is(first: int, last: int, size: int) -> None:
    """Its bytes are those from the first to the last, as far as there are any."""
    content = bytes(size)
    span = parse_range(f"bytes={first}-{last}", size)
    if last < first:
        assert span is None
    elif first >= size:
        assert span is not None
        assert span[0] >= span[1]
    else:
        assert span is not None
        assert content[slice(*span)] == content[first : last + 1]
