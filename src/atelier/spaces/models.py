"""The tables `spaces` and `members`."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Integer, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from atelier.database import Base, UtcDateTime


class Space(Base):
    """A space. A person's own has their id, and is made by a trigger with the account.

    `user_id` is set for a person's own; `name` for a team's. `sequence` counts its events.
    """

    __tablename__ = "spaces"

    id: Mapped[int] = mapped_column(
        BigInteger,
        primary_key=True,
        autoincrement=False,
        server_default=text("nextval('users_id_seq')"),
    )
    user_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("users.id", ondelete="CASCADE"), unique=True
    )
    name: Mapped[str | None] = mapped_column(Text)
    sequence: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Member(Base):
    """A member of a team's space; nobody is a member of their own."""

    __tablename__ = "members"
    __table_args__ = (
        CheckConstraint("role in ('viewer', 'worker', 'editor', 'owner')", name="role"),
    )

    space_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("spaces.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    role: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
