"""The shapes of picture records and requests, as OpenAPI shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from atelier.http.strict import Kept
from atelier.images.texts import TAG_LIMIT, TAGS_LIMIT
from atelier.wire.texts import LINE_LIMIT, RAW_LIMIT, raw_limit

DESCRIPTION_RAW_LIMIT = raw_limit(10_000)  # the setting's own limit


Status = Literal["queued", "ready", "failed"]


def _words(raw: int = RAW_LIMIT, **shown: Any) -> Any:
    """A text's schema for OpenAPI: the true limit, which is enforced after normalisation."""
    return Field(max_length=raw, json_schema_extra=shown)


Title = Annotated[str, _words(minLength=1, maxLength=LINE_LIMIT)]
Description = Annotated[str, _words(DESCRIPTION_RAW_LIMIT, **{"x-limit": "description_limit"})]
Tags = Annotated[list[Annotated[str, _words(maxLength=TAG_LIMIT)]], Field(max_length=TAGS_LIMIT)]


class Rendition(BaseModel):
    """One picture made from the original."""

    name: str = Field(examples=["500x500"])
    width: int = Field(examples=[500])
    height: int = Field(examples=[375])
    size: int = Field(description="Bytes.", examples=[31480])
    format: str = Field(examples=["JPEG"])
    url: str = Field(examples=["/api/images/42/renditions/500x500"])


class Failure(BaseModel):
    """Why a picture could not be processed."""

    reason: str = Field(examples=["bad-picture"])
    detail: str = Field(examples=["The file ends in the middle of the picture."])


class ImageRecord(BaseModel):
    """A picture as all see it who may."""

    id: int = Field(examples=[42])
    space_id: int = Field(description="The space that it belongs to.", examples=[7])
    created_by: int | None = Field(
        None, description="The user who uploaded it; null once they have left.", examples=[7]
    )
    title: str = Field(examples=["Crossing"])
    description: str = Field(examples=["С начала фазы запрещающего сигнала прошло: 7 секунд"])
    tags: list[str] = Field(examples=[["traffic", "night"]])
    file_path: str = Field(
        description="Key of the original in the blob store.",
        examples=["images/3f/9a…/original.jpg"],
    )
    uploaded_at: datetime
    received_at: datetime
    format: str = Field(examples=["JPEG"])
    resolution: str = Field(
        description="Width x height as displayed, in pixels.", examples=["640x480"]
    )
    width: int = Field(examples=[640])
    height: int = Field(examples=[480])
    size: int = Field(description="Bytes of the original.", examples=[81356])
    sha256: str
    status: Status
    error: Failure | None = None
    metadata: dict[str, Any] = Field(
        description="What the file says: camera, date, GPS, ICC profile, bit depth, frames."
    )
    renditions: list[Rendition]
    url: str = Field(examples=["/api/images/42"])


class UploadedImage(ImageRecord):
    """A new picture."""

    duplicates: list[int] = Field(
        description="Pictures of the space with the same content, newest first; not all of many.",
        max_length=20,
        examples=[[17]],
    )


class ImageForm(BaseModel):
    """The multipart body of an upload; other fields are refused."""

    model_config = ConfigDict(extra="forbid")

    file: bytes = Field(
        json_schema_extra={"format": "binary"},
        description="The picture; also accepted as `image`.",
    )
    description: Description = Field(
        "", description="Becomes the caption; counted in characters after NFC."
    )
    title: Annotated[str, _words(maxLength=LINE_LIMIT)] = Field(
        "", description="Left out: the file's name."
    )
    tags: Tags = Field([], description="Repeated, or separated by commas.")


class ImageChange(BaseModel):
    """What PATCH may change; a field left out stays."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={"examples": [{"title": "Crossing at dusk"}]},
    )

    title: Kept[Title] = None
    description: Kept[Description] = None
    tags: Kept[Tags] = None


class ImageReplacement(BaseModel):
    """All that PUT replaces."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"title": "Crossing", "description": "Seven seconds", "tags": ["traffic"]}
            ]
        },
    )

    title: Title
    description: Description
    tags: Tags
