"""The space of a request: `?space=`, or the caller's own where it is left out."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import Field

from atelier.http.strict import Decimal
from atelier.wire.complaints import refused
from atelier.wire.spaces import MAX_ID, TEXT

Space = Annotated[
    Annotated[int, Field(ge=1, le=MAX_ID), Decimal] | None,
    Query(description=TEXT, examples=[7]),
]  # a route's parameter `space`, which `auth.in_space` judges


def named(space: int | None, body: int | None) -> int | None:
    """The space that a request names in its address, its body or both. Raises Invalid."""
    if None not in (space, body) and space != body:
        raise refused("The address names another space", "body", "space_id")
    return body if space is None else space
