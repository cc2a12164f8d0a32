"""The table `members`; that of spaces is `atelier.spaces_table`, for slices refer to it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from atelier.database import Base, UtcDateTime
from atelier.spaces_table import Space


class Member(Base):
    """A member of a team's space; nobody is a member of their own."""

    __tablename__ = "members"
    __table_args__ = (
        CheckConstraint("role in ('viewer', 'worker', 'editor', 'owner')", name="role"),
    )

    space_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey(Space.id, ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    role: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
