"""The tables of tasks: they and their leases, answers, queues, views, and how many were made."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from atelier.database import Base, UtcDateTime
from atelier.spaces_table import Space


class Queue(Base):
    """A named set of a space's tasks, with the form that their answers have.

    `sequence` counts its events and is its ETag.
    """

    __tablename__ = "queues"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    space_id: Mapped[int] = mapped_column(BigInteger, ForeignKey(Space.id))
    created_by: Mapped[int | None] = mapped_column(BigInteger)  # None: left
    name: Mapped[str] = mapped_column(Text)
    form: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    sequence: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (
        Index("ix_queues_space_id_id", "space_id", "id"),
        Index("ix_queues_created_by", "created_by"),
    )


class Task(Base):
    """A picture to be worked on.

    `sequence` counts the task's events; it is its ETag and the token of its lease. A task that is
    not free and has no `taken_at` was skipped: nobody gets it until `leased_until`.
    """

    __tablename__ = "tasks"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    owner_id: Mapped[int] = mapped_column(BigInteger, ForeignKey(Space.id))  # the space
    created_by: Mapped[int | None] = mapped_column(
        BigInteger
    )  # None: of the space's person, if it has one; 0: left
    queue_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey(Queue.id))
    meta: Mapped[str] = mapped_column(Text)
    free: Mapped[bool]
    taken_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    taken_by: Mapped[int | None] = mapped_column(BigInteger)  # in doubt: taken before 0013
    leased_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    completed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # A stored picture that it is made of; it then has no blob of its own, and a size of 0.
    image_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("images.id"))
    blob: Mapped[str | None] = mapped_column(Text)
    format: Mapped[str] = mapped_column(Text)
    media_type: Mapped[str] = mapped_column(Text)
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(Text)
    sequence: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (
        # An owner's free tasks are adjacent in it, oldest first, and so are the taken ones:
        # decision 31.
        Index("ix_tasks_owner_id_free_id", "owner_id", "free", "id"),
        # Of the things in teams' spaces alone, for those who leave.
        Index(
            "ix_tasks_created_by", "created_by", postgresql_where=text("created_by <> owner_id")
        ),
        Index(
            "ix_tasks_leased_until",
            "leased_until",
            postgresql_where=text("leased_until IS NOT NULL"),
        ),
        # The same order as the hand-out of a space, for the tasks of queues alone.
        Index(
            "ix_tasks_queue_id_free_id",
            "queue_id",
            "free",
            "id",
            postgresql_where=text("queue_id IS NOT NULL"),
        ),
        # A picture is once in a queue, however often the queue is filled; the deletion of a
        # picture looks for its tasks along it, too.
        Index(
            "uq_tasks_image_id_queue_id",
            "image_id",
            "queue_id",
            unique=True,
            postgresql_where=text("image_id IS NOT NULL"),
        ),
        # A take steps over the tasks taken since the last vacuum: vacuum by their number, not
        # by the table's size.
        {
            "postgresql_with": {
                "autovacuum_vacuum_scale_factor": 0,
                "autovacuum_vacuum_threshold": 10_000,
                "autovacuum_vacuum_cost_delay": 0,
            }
        },
    )


class Answer(Base):
    """What somebody said to a task, and how long they looked at it.

    A task has one today; the last one counts.
    """

    __tablename__ = "answers"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    task_id: Mapped[int] = mapped_column(BigInteger, ForeignKey(Task.id, ondelete="CASCADE"))
    queue_id: Mapped[int | None] = mapped_column(BigInteger)  # the task's, for counts
    user_id: Mapped[int | None] = mapped_column(BigInteger)  # None: left
    result: Mapped[Any] = mapped_column(JSONB, nullable=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    seconds: Mapped[float] = mapped_column(Double)

    __table_args__ = (
        Index("ix_answers_task_id", "task_id"),
        Index("ix_answers_user_id", "user_id"),
        Index(
            "ix_answers_queue_id_at",
            "queue_id",
            "at",
            postgresql_where=text("queue_id IS NOT NULL"),
        ),
    )


class TaskTotal(Base):
    """The sum of `users.tasks_created` over the users of one shard.

    The total is the sum of a fixed number of rows.
    """

    __tablename__ = "task_totals"

    shard: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    created: Mapped[int] = mapped_column(BigInteger)

    # Half of each page stays empty for new versions of its rows: an update that finds room
    # touches no index.
    __table_args__ = ({"postgresql_with": {"fillfactor": 50}},)


class TaskView(Base):
    """A picture of a task that every browser shows: wanted, made (`blob`) or failed (`error`).

    A table of its own: making a view changes nothing on the way of a hand-out.
    """

    __tablename__ = "task_views"

    task_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey(Task.id, ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    blob: Mapped[str | None] = mapped_column(Text)
    size: Mapped[int | None] = mapped_column(BigInteger)
    error: Mapped[dict[str, str] | None] = mapped_column(JSONB(none_as_null=True))
    offered_at: Mapped[datetime] = mapped_column(UtcDateTime)
    made_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        # The reconciler reads only views that are waited for; this index holds only those.
        Index(
            "ix_task_views_offered_at",
            "offered_at",
            postgresql_where=text("blob IS NULL AND error IS NULL"),
        ),
    )
