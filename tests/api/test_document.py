"""The OpenAPI document of the whole application, as people read it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from atelier.http.openapi import operations


def test_each_operation_says_in_a_line_what_it_does(document: dict[str, Any]) -> None:
    """A short summary that no other operation has, and more in the description."""
    current = [said for _, said in operations(document) if not said.get("deprecated")]
    for said in current:
        assert len(said["summary"]) <= 60, said["operationId"]
        assert said["summary"].rstrip(".") not in said["description"], said["operationId"]
    counts = Counter(said["summary"] for said in current)
    assert [summary for summary, count in counts.items() if count > 1] == []


def test_tags_are_in_the_order_in_which_one_needs_them(document: dict[str, Any]) -> None:
    """An account first, then what one does with it; what operators need is last."""
    names = [tag["name"] for tag in document["tags"]]
    assert names == [
        *("accounts", "spaces", "invitations", "keys"),
        *("images", "files", "tasks", "queues", "books", "trash", "events", "health"),
    ]
