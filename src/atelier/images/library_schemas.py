"""The shapes of a library's answers and requests, as OpenAPI shows them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from atelier.http.moving import MOST as BATCH_MOST
from atelier.http.moving import Id
from atelier.images.columns import MOST
from atelier.images.records import VERSION
from atelier.images.schemas import Tags

TAGS_MOST = 1_000  # of one answer


class TagCount(BaseModel):
    """A tag, and how many pictures of the space have it."""

    tag: str = Field(examples=["traffic"])
    count: int = Field(examples=[240])


class Counted(BaseModel):
    """How many pictures there are."""

    count: int = Field(examples=[240])
    exact: bool = Field(description="False: at least so many.", examples=[True])


Numbers = Annotated[list[int], Field(max_length=MOST)]


class Index(BaseModel):
    """Pictures in columns, one place of each for a picture, in the order of the list."""

    count: int = Field(description="How many.", examples=[2])
    rendition: str = Field(description="The rendition of `versions`.", examples=["500x500"])
    ids: Numbers = Field(
        description="The first id, then the difference of each to the one before.",
        examples=[[43, -1]],
    )
    widths: Numbers = Field(description="Of the original as displayed.", examples=[[640, 480]])
    heights: Numbers = Field(examples=[[480, 640]])
    statuses: str = Field(
        description="The first letters of their statuses.", max_length=MOST, examples=["rq"]
    )
    versions: str = Field(
        description=f"{VERSION} characters each, for the address "
        "`/api/images/{id}/renditions/{rendition}?v={version}`; hyphens: there is none yet.",
        max_length=MOST * VERSION,
        examples=["9c41f00b--------"],
    )
    months: Annotated[
        list[Annotated[list[str | int], Field(min_length=2, max_length=2)]],
        Field(max_length=MOST),
    ] = Field(
        description="The months of their dates, in UTC, each with how many pictures in a row.",
        examples=[[["2026-11", 2]]],
    )


class Action(StrEnum):
    """What to do with pictures."""

    TAG = "tag"
    UNTAG = "untag"
    MOVE = "move"
    DELETE = "delete"
    MAKE_TASKS = "make-tasks"


NEEDED = {
    Action.TAG: "tags",
    Action.UNTAG: "tags",
    Action.MOVE: "space_id",
    Action.DELETE: None,
    Action.MAKE_TASKS: "queue_id",
}


class Batch(BaseModel):
    """Which pictures to change, and how; `action` says which of the other fields is needed."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={
            "examples": [{"ids": [42, 43], "action": "tag", "tags": ["traffic"]}],
        },
    )

    ids: list[Id] = Field(
        min_length=1, max_length=BATCH_MOST, description="All of them are changed, or none."
    )
    action: Action = Field(strict=False)
    tags: Tags | None = Field(
        None,
        min_length=1,
        description="Of `tag`, which come behind the present ones, and `untag`.",
    )
    space_id: Id | None = Field(None, description="Of `move`: the space where they are to be.")
    queue_id: Id | None = Field(None, description="Of `make-tasks`: a queue of their space.")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        needed = NEEDED[self.action]
        given = {name for name in ("tags", "space_id", "queue_id") if getattr(self, name)}
        if given != ({needed} if needed else set()):
            raise ValueError(
                f"`{self.action}` needs {f'`{needed}`' if needed else 'nothing else'}"
                + (" alone" if needed else "")
            )
        return self


class Changed(BaseModel):
    """What came of it."""

    changed: int = Field(description="Pictures that changed, or tasks that came.", examples=[2])
    unchanged: int = Field(description="Those that were so already.", examples=[0])
