"""The shapes of spaces and members, as OpenAPI shows them. The only place that validates them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from atelier.http.strict import Kept, one_line

NAME_MAX = 100
_SPACE: dict[str, Any] = {
    "id": 12,
    "name": "Herbarium",
    "personal": False,
    "role": "owner",
    "created_at": "2026-11-21T09:30:00Z",
}


Name = Annotated[str, one_line(NAME_MAX), Field(min_length=1, max_length=NAME_MAX)]
RoleName = Annotated[
    Literal["viewer", "worker", "editor", "owner"],
    Field(
        description="A viewer sees; a worker also takes and answers tasks; an editor also "
        "uploads, changes and deletes; an owner also manages the space."
    ),
]


class SpaceRecord(BaseModel):
    """A space, as one of its members sees it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SPACE]})

    id: int
    name: str | None = Field(description="Null for one's own space.")
    personal: bool = Field(description="Whether it is one's own, which nobody else enters.")
    role: RoleName
    created_at: datetime


class TaskCounts(BaseModel):
    """Tasks by state."""

    free: int
    taken: int
    done: int


class ListedSpace(SpaceRecord):
    """A space with what is in it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                _SPACE
                | {
                    "pictures": 240,
                    "tasks": {"free": 12, "taken": 3, "done": 40},
                    "files": 7,
                    "bytes": 81_204_224,
                }
            ]
        }
    )

    pictures: int
    tasks: TaskCounts
    files: int
    bytes: int = Field(description="Of all three as they were uploaded; renditions do not count.")


class NewSpace(BaseModel):
    """A new space of a team."""

    model_config = ConfigDict(
        strict=True, extra="forbid", json_schema_extra={"examples": [{"name": "Herbarium"}]}
    )

    name: Name


class SpaceChange(BaseModel):
    """What PATCH may change; a field left out stays."""

    model_config = ConfigDict(
        strict=True, extra="forbid", json_schema_extra={"examples": [{"name": "Flora"}]}
    )

    name: Kept[Name] = None


class NewRole(BaseModel):
    """The role to have from now on."""

    model_config = ConfigDict(
        strict=True, extra="forbid", json_schema_extra={"examples": [{"role": "editor"}]}
    )

    role: RoleName


class MemberRecord(BaseModel):
    """A member of a space."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "user_id": 7,
                    "email": "anna@example.org",
                    "name": "Anna Karenina",
                    "role": "editor",
                    "since": "2026-11-21T09:30:00Z",
                }
            ]
        }
    )

    user_id: int
    email: str
    name: str | None
    role: RoleName
    since: datetime
