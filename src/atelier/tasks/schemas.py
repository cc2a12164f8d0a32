"""The shapes of task records and requests, as OpenAPI shows them."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from atelier.wire.spaces import MAX_ID

LEASE_LIMIT_SECONDS = 7 * 86_400
TOKEN_LIMIT = 2**31 - 1


class TaskImage(BaseModel):
    """The picture of a task."""

    url: str = Field(examples=["/api/tasks/42/image"])
    format: str = Field(description="As the content says, not its name.", examples=["PNG"])
    size: int = Field(description="Bytes.", examples=[81356])


class TaskView(BaseModel):
    """The picture of a task as every browser shows it."""

    url: str = Field(examples=["/api/tasks/42/view"])


class TaskRecord(BaseModel):
    """A task as seen by the members of its space."""

    id: int = Field(examples=[42])
    space_id: int = Field(examples=[7])
    created_by: int | None = Field(
        description="Who made it; null: somebody who has left.", examples=[7]
    )
    meta: str = Field(examples=["Is the light red?"])
    free: bool
    taken_at: datetime | None
    created_at: datetime
    image: TaskImage
    view: TaskView


class Lease(BaseModel):
    """Until when a task is its taker's."""

    token: int = Field(
        description="Proves the lease; grows with every hand-out of the task.", examples=[2]
    )
    expires_at: datetime


class TakenTask(TaskRecord):
    """A task that was handed out; with its lease, when one was asked for."""

    lease: Lease | None = None


class TaskForm(BaseModel):
    """The multipart body of a new task; other fields are refused."""

    model_config = ConfigDict(extra="forbid")

    image: bytes = Field(
        json_schema_extra={"format": "binary"}, description="The picture, of any image format."
    )
    meta: str = Field(max_length=10_000, description="Any text.")


class NewTask(BaseModel):
    """The JSON body of a new task."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"image": "R0lGODlhAQABAAAAACwAAAAAAQABAAACAkQBADs=", "meta": "Is it red?"}
            ]
        },
    )

    image: str = Field(
        description="The picture, of any image format, as base64.",
        json_schema_extra={"contentEncoding": "base64"},
    )
    meta: str = Field(max_length=10_000, description="Any text.")


class Taking(BaseModel):
    """How to take a task."""

    model_config = ConfigDict(
        strict=True, extra="forbid", json_schema_extra={"examples": [{"lease_seconds": 600}]}
    )

    lease_seconds: int | None = Field(
        None,
        ge=1,
        le=LEASE_LIMIT_SECONDS,
        description="Take it for so long only; left out: for good.",
    )
    space_id: int | None = Field(None, ge=1, le=MAX_ID, description="As `?space=`.", examples=[7])


class Holding(BaseModel):
    """The proof of a lease."""

    model_config = ConfigDict(
        strict=True, extra="forbid", json_schema_extra={"examples": [{"token": 2}]}
    )

    token: int = Field(ge=1, le=TOKEN_LIMIT)


class Renewal(Holding):
    """The proof of a lease, and how long it is to be from now on."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"token": 2, "lease_seconds": 600}]})

    lease_seconds: int = Field(ge=1, le=LEASE_LIMIT_SECONDS)


class TotalCreated(BaseModel):
    """How many tasks were ever created by all users that there are."""

    total_tasks_created: int = Field(examples=[1204])
