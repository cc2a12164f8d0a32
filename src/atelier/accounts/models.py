"""The tables of accounts: users, their sessions, links and keys, and what they keep."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Integer,
    LargeBinary,
    Text,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from atelier.database import Base, UtcDateTime
from atelier.spaces_table import Space

COOKIE = "cookie"  # a kind of session: a browser's, whose cookie stays the same
TOKEN = "token"  # noqa: S105 - a kind of session: bearer tokens, refreshed by their client


class User(Base):
    """A user.

    `sequence` counts their events; `tasks_created` only grows and belongs to the tasks slice.
    Whoever is disabled has no session and cannot sign in.
    """

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    email: Mapped[str] = mapped_column(Text)
    email_folded: Mapped[str] = mapped_column(Text, unique=True)
    password_hash: Mapped[str] = mapped_column(Text)
    tasks_created: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    sequence: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    name: Mapped[str | None] = mapped_column(Text)
    administrator: Mapped[bool] = mapped_column(server_default=text("false"))
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class RefreshFamily(Base):
    """One sign-in and all refresh tokens that descend from it: a session.

    Only digests of the current token and of the one before are kept, keyed by the secret: with
    another secret no session is found. `rotated_at` is the database's time of the last exchange,
    `issued_at` the same by the clock that access tokens are judged by. The session ends at
    `ends_at`, however much it is used.
    """

    __tablename__ = "refresh_families"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    token_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    kind: Mapped[str] = mapped_column(Text, server_default=text(f"'{TOKEN}'"))
    client: Mapped[str | None] = mapped_column(Text)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ends_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    previous_sha256: Mapped[bytes | None] = mapped_column(LargeBinary)
    rotated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    issued_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class AccountLink(Base):
    """A link that an operator hands out and that is used once: a new password, or an account.

    Only the digest of its token is kept. An invitation with an address is for that one alone.
    """

    __tablename__ = "account_links"
    __table_args__ = (CheckConstraint("kind in ('reset', 'invite')", name="kind"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    token_sha256: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    user_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    email: Mapped[str | None] = mapped_column(Text)
    space_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey(Space.id, ondelete="CASCADE"), index=True
    )  # that an invitation opens, in this role
    role: Mapped[str | None] = mapped_column(Text)
    created_by: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("users.id", ondelete="CASCADE"), index=True
    )  # None: the operator
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ApiKey(Base):
    """A key of a person's program: one space, some rights, and the digest of the secret."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    created_by: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    space_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey(Space.id, ondelete="CASCADE"), index=True
    )
    rights: Mapped[list[str]] = mapped_column(ARRAY(Text))
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class OwnerUsage(Base):
    """What a user keeps, counted by triggers; without a row nobody has asked yet.

    See `atelier.wire.allowance`.
    """

    __tablename__ = "owner_usage"

    owner_id: Mapped[int] = mapped_column(
        BigInteger,
        ForeignKey(Space.id, ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    )
    objects: Mapped[int] = mapped_column(BigInteger)
    bytes: Mapped[int] = mapped_column(BigInteger)
