"""The shapes of the trash, as OpenAPI shows them. The only place that validates them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from atelier.wire.trash import Kind

MOST = 1000  # things restored or purged at once
SUBJECT_PATTERN = rf"^({'|'.join(Kind)})s/[1-9][0-9]{{0,18}}$"
_ITEM: dict[str, Any] = {
    "subject": "images/42",
    "kind": "image",
    "id": 42,
    "space_id": 7,
    "title": "Box 12, sheet 3",
    "size": 812345,
    "deleted_at": "2026-11-21T09:30:00Z",
    "actor": "users/7",
    "purged_at": "2026-12-21T09:30:00Z",
}


class TrashItem(BaseModel):
    """A deleted thing that can be restored."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ITEM]})

    subject: str = Field(description="What it is called in events, and here.")
    kind: Kind
    id: int = Field(description="The id that it had, and has again once it is restored.")
    space_id: int
    title: str = Field(description="A picture's title, a task's `meta`, a file's name.")
    size: int = Field(description="Of its original, in bytes.")
    deleted_at: datetime
    actor: str | None = Field(description="Who deleted it, as events tell it.")
    purged_at: datetime = Field(description="From then on it is gone for good.")


class Subjects(BaseModel):
    """Deleted things, all of them or none."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={"examples": [{"subjects": ["images/42", "files/7"]}]},
    )

    subjects: list[Annotated[str, Field(pattern=SUBJECT_PATTERN, max_length=26)]] = Field(
        min_length=1, max_length=MOST
    )


class Restored(BaseModel):
    """How many things are back where they were."""

    restored: int = Field(examples=[2])


class Purged(BaseModel):
    """How many things are gone for good."""

    purged: int = Field(examples=[2])
