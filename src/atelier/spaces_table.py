"""The table `spaces`, to which the rows of most slices refer."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Integer, Text, text
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
