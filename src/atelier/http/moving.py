"""The body and the answer of a move of things to another space, for every slice."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from atelier.wire.spaces import MAX_ID

MOST = 1000  # things moved at once

Id = Annotated[int, Field(ge=1, le=MAX_ID)]


class Moving(BaseModel):
    """Which things to move, and where to."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={"examples": [{"ids": [42, 43], "space_id": 7}]},
    )

    ids: list[Id] = Field(
        min_length=1, max_length=MOST, description="All of them are moved, or none."
    )
    space_id: Id = Field(description="The space that they are to be in.")


class Moved(BaseModel):
    """How many things were moved; those that were there already are not counted."""

    moved: int = Field(examples=[2])
