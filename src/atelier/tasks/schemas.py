"""The shapes of task records and requests, as OpenAPI shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from atelier.tasks.records import State
from atelier.wire.spaces import MAX_ID
from atelier.wire.strict_json import depth

LEASE_LIMIT_SECONDS = 7 * 86_400
TOKEN_LIMIT = 2**31 - 1
RESULT_BYTES = 64 * 1024  # of an answer, as compact JSON
RESULT_DEPTH = 32  # of lists and objects in an answer: more than any form, less than any stack


def _result(value: object) -> object:
    if depth(value) > RESULT_DEPTH:
        raise ValueError(f"At most {RESULT_DEPTH} levels")
    if len(orjson.dumps(value)) > RESULT_BYTES:
        raise ValueError(f"At most {RESULT_BYTES} bytes")
    return value


Result = Annotated[JsonValue, BeforeValidator(_result)]


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
    queue_id: int | None = Field(description="The queue that it is in.", examples=[3])
    image_id: int | None = Field(
        description="The stored picture that it is made of; null: it was made with its own."
    )
    meta: str = Field(examples=["Is the light red?"])
    free: bool
    state: State = Field(description="One that was skipped is `taken`, by nobody.")
    taken_at: datetime | None
    taken_by: int | None = Field(description="Who has it now.", examples=[7])
    skipped_until: datetime | None = Field(description="Until when nobody gets it.")
    completed_at: datetime | None
    completed_by: int | None = Field(
        description="Who answered; null: nobody yet, or somebody who has left.", examples=[7]
    )
    seconds: float | None = Field(description="From being taken to being completed.")
    result: JsonValue = Field(description="The answer.", examples=[{"light": "red"}])
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
    queue_id: int | None = Field(
        None, ge=1, le=MAX_ID, description="Take one of this queue.", examples=[3]
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


class Completion(Holding):
    """The proof of a lease, and the answer."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"token": 2, "result": {"light": "red"}}]}
    )

    result: Result = Field(None, description=f"The answer, any JSON up to {RESULT_BYTES} bytes.")
    lease_seconds: int | None = Field(
        None,
        ge=1,
        le=LEASE_LIMIT_SECONDS,
        description="With `take_next`: take the next one for so long only; left out: for good.",
    )


class CompletedTask(TaskRecord):
    """A task with its answer; with `take_next` also the next one, null when none is free."""

    next: TakenTask | None = None


class Skipping(Holding):
    """The proof of a lease, and for how long nobody is to get the task."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"token": 2, "for_seconds": 600}]})

    for_seconds: int = Field(ge=1, le=LEASE_LIMIT_SECONDS)


class Correction(BaseModel):
    """Another answer in place of the one that was given."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={"examples": [{"result": {"light": "green"}}]},
    )

    result: Result = Field(description=f"Any JSON up to {RESULT_BYTES} bytes.")


class TotalCreated(BaseModel):
    """How many tasks were ever created by all users that there are."""

    total_tasks_created: int = Field(examples=[1204])
