"""Which of several media types a client prefers."""

from __future__ import annotations

import pytest

from atelier.wire.negotiation import preferred

STREAM, JSON = OFFERED = ("text/event-stream", "application/json")


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (None, STREAM),
        ("", STREAM),
        ("*/*", STREAM),
        ("text/event-stream", STREAM),
        ("application/json", JSON),
        ("Application/JSON; charset=utf-8", JSON),
        ("application/*", JSON),
        ("application/json, */*;q=0.5", JSON),
        ("application/json;q=0.5, text/*", STREAM),
        ("*/*, text/event-stream;q=0", JSON),
        ("text/event-stream;q=0.2, application/json; q=0.3", JSON),
        ("image/png", None),
        ("application/json;q=0", None),
        ("application/json;q=much", None),
    ],
)
def test_the_greatest_weight_wins(accept: str | None, wanted: str | None) -> None:
    """Of equals the first on offer; a weight that is none counts as no."""
    assert preferred(accept, OFFERED) == wanted
