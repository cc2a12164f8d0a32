"""The space of a request: `?space=`, or the caller's own where it is left out."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import Field

from atelier.http.strict import Decimal

Space = Annotated[
    Annotated[int, Field(ge=1, le=2**63 - 1), Decimal] | None,
    Query(description="The space; left out: one's own.", examples=[7]),
]  # a route's parameter `space`, which `auth.in_space` judges
