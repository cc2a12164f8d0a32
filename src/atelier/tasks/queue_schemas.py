"""The shapes of queues, as OpenAPI shows them. The only place that validates them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from atelier.http.moving import MOST
from atelier.http.strict import Kept, normal, one_line
from atelier.tasks.forms import Form
from atelier.tasks.incoming import META_LIMIT
from atelier.tasks.progress import HOURS
from atelier.wire.spaces import MAX_ID

NAME_MAX = 100
SEARCH_MAX = 300  # characters


Name = Annotated[str, one_line(NAME_MAX), Field(min_length=1, max_length=NAME_MAX)]
Words = Annotated[str, normal(SEARCH_MAX), Field(min_length=1, max_length=SEARCH_MAX)]


class QueueRecord(BaseModel):
    """A queue as seen by the members of its space."""

    id: int = Field(examples=[3])
    space_id: int = Field(examples=[7])
    created_by: int | None = Field(description="Null: somebody who has left.", examples=[7])
    name: str = Field(examples=["Traffic lights"])
    form: Form | None = Field(description="Null: any answer is taken.")
    created_at: datetime


class NewQueue(BaseModel):
    """A new queue."""

    model_config = ConfigDict(
        strict=True, extra="forbid", json_schema_extra={"examples": [{"name": "Traffic lights"}]}
    )

    name: Name
    form: Form | None = None
    space_id: int | None = Field(None, ge=1, le=MAX_ID, description="As `?space=`.", examples=[7])


class QueueChange(BaseModel):
    """What PATCH may change; a field left out stays."""

    model_config = ConfigDict(
        strict=True, extra="forbid", json_schema_extra={"examples": [{"name": "Lights"}]}
    )

    name: Kept[Name] = None
    form: Form | None = Field(None, description="Null: any answer is taken from now on.")


class Filling(BaseModel):
    """Which pictures of the space to make tasks of; exactly one of the three."""

    model_config = ConfigDict(
        strict=True, extra="forbid", json_schema_extra={"examples": [{"tag": "crossing"}]}
    )

    tag: Words | None = Field(None, description="Those with this tag.")
    q: Words | None = Field(None, description="Those with this in their title or description.")
    ids: list[Annotated[int, Field(ge=1, le=MAX_ID)]] | None = Field(
        None, min_length=1, max_length=MOST, description="These."
    )
    meta: str = Field("", max_length=META_LIMIT, description="The text of each task.")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if sum(each is not None for each in (self.tag, self.q, self.ids)) != 1:
            raise ValueError("One of `tag`, `q` and `ids` is needed")
        return self


class Filled(BaseModel):
    """What came of it."""

    added: int = Field(description="Tasks that were made.", examples=[240])
    present: int = Field(description="Pictures that the queue had already.", examples=[0])


class PersonsPart(BaseModel):
    """What one person has answered."""

    user_id: int | None = Field(description="Null: people who have left.")
    name: str | None
    done: int
    seconds: float | None = Field(description="For an answer, on average.")
    last_at: datetime


class HoursPart(BaseModel):
    """What one person has answered in an hour."""

    hour: datetime = Field(description="Its beginning, in UTC.")
    user_id: int | None
    done: int


class Progress(BaseModel):
    """How far a queue is."""

    free: int
    taken: int = Field(description="With somebody, or skipped.")
    done: int
    people: list[PersonsPart]
    hours: list[HoursPart] = Field(description=f"Of the last {HOURS // 24} days.")
