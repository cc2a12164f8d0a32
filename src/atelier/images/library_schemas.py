"""The shapes of a library's answers and requests, as OpenAPI shows them."""

from __future__ import annotations

from pydantic import BaseModel, Field

TAGS_MOST = 1_000  # of one answer


class TagCount(BaseModel):
    """A tag, and how many pictures of the space have it."""

    tag: str = Field(examples=["traffic"])
    count: int = Field(examples=[240])


class Counted(BaseModel):
    """How many pictures there are."""

    count: int = Field(examples=[240])
    exact: bool = Field(description="False: at least so many.", examples=[True])
