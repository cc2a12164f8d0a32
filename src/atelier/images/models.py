"""The tables of pictures: `images`, a row for each with its renditions, and `image_tags`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from atelier.database import Base, UtcDateTime
from atelier.spaces_table import Space

QUEUED, READY, FAILED = "queued", "ready", "failed"


class Image(Base):
    """A picture.

    `version` fences processing; `sequence` counts the picture's events and is its ETag.
    """

    __tablename__ = "images"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    owner_id: Mapped[int] = mapped_column(BigInteger, ForeignKey(Space.id))  # the space
    created_by: Mapped[int | None] = mapped_column(
        BigInteger
    )  # None: of the space's person, if it has one; 0: left
    title: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text)
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text))
    blob: Mapped[str] = mapped_column(Text, unique=True)
    format: Mapped[str] = mapped_column(Text)
    media_type: Mapped[str] = mapped_column(Text)
    width: Mapped[int] = mapped_column(Integer)
    height: Mapped[int] = mapped_column(Integer)
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(Text)
    details: Mapped[dict[str, Any]] = mapped_column("metadata", JSONB)
    status: Mapped[str] = mapped_column(Text)
    error: Mapped[dict[str, str] | None] = mapped_column(JSONB(none_as_null=True))
    renditions: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    version: Mapped[int] = mapped_column(Integer)
    sequence: Mapped[int] = mapped_column(Integer)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    offered_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (
        CheckConstraint("status in ('queued', 'ready', 'failed')", name="status"),
        # With the sizes a space is counted without reading its rows: decision 144.
        Index("ix_images_owner_id_id", "owner_id", "id", postgresql_include=["size"]),
        # Of the things in teams' spaces alone, for those who leave.
        Index(
            "ix_images_created_by", "created_by", postgresql_where=text("created_by <> owner_id")
        ),
        # Lists by each of these, and the pictures of the same content: decision 153.
        Index("ix_images_owner_id_received_at_id", "owner_id", "received_at", "id"),
        Index(
            "ix_images_owner_id_taken_at_id",
            "owner_id",
            text("image_taken_at(metadata, received_at)"),
            "id",
        ),
        Index("ix_images_owner_id_status_id", "owner_id", "status", "id"),
        Index("ix_images_owner_id_format_id", "owner_id", "format", "id"),
        Index("ix_images_owner_id_sha256", "owner_id", "sha256"),
        # The reconciler reads only rows that are not final; this index holds only those.
        Index("ix_images_offered_at", "offered_at", postgresql_where=text("status = 'queued'")),
    )


class ImageTag(Base):
    """A picture that has a tag. Triggers on `images` keep these rows; nothing else writes them."""

    __tablename__ = "image_tags"

    owner_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    tag: Mapped[str] = mapped_column(Text, primary_key=True)
    image_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
