"""The table `trash`: what was deleted, whole, until it is restored or purged."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, Integer, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from atelier.database import Base, UtcDateTime


class Trash(Base):
    """A deleted thing. Its `sequence` is that of the event of its deletion."""

    __tablename__ = "trash"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    thing_id: Mapped[int] = mapped_column(BigInteger)
    # The space. No foreign key: its lock would be taken after those of what is deleted. Whoever
    # deletes a space empties its trash last.
    owner_id: Mapped[int] = mapped_column(BigInteger)
    size: Mapped[int] = mapped_column(BigInteger)  # of its original, as quotas count it
    title: Mapped[str] = mapped_column(Text)
    content: Mapped[dict[str, Any]] = mapped_column(JSONB)  # the row
    blobs: Mapped[list[str]] = mapped_column(ARRAY(Text))
    sequence: Mapped[int] = mapped_column(Integer)
    actor: Mapped[str | None] = mapped_column(Text)  # who deleted it: `users/7` or `keys/3`
    deleted_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (
        CheckConstraint("kind in ('image', 'task', 'file')", name="kind"),
        Index("uq_trash_kind_thing_id", "kind", "thing_id", unique=True),
        Index("ix_trash_owner_id_id", "owner_id", text("id DESC")),
        Index("ix_trash_deleted_at", "deleted_at"),
    )
