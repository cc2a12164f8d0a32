"""The outbox: each event is written to this table in the transaction that it reports.

Sent events stay for a retention period, ordered by a gapless `position`: the log for replays.
Knows no bus.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import asyncpg
import msgspec
from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Identity,
    Index,
    Integer,
    Text,
    event,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from atelier import locks
from atelier.database import Base, Database, UtcDateTime
from atelier.events.messages import Event, new_event_id, utcnow
from atelier.observe import requester, tracing

WAKE_CHANNEL = "outbox"  # notified when events were written while the relay slept
# Notified when the log has grown; the payload names topics: "book image" for book.* and image.*
SENT_CHANNEL = "outbox_sent"
PRUNE_BATCH = 1000  # rows per transaction: short locks, and vacuum keeps up
READ_LIMIT = 500

# Hand-written statements put this before a SELECT of the six values, the last of which is
# `requester.actor()`:
#   WITH row AS (INSERT INTO tasks ... RETURNING *)
#   INSERT INTO outbox (type, subject, sequence, data, space_id, actor)
#   SELECT 'task.created', 'tasks/' || id, 1, jsonb_build_object('id', id), owner_id, $4 FROM row
INSERT = "INSERT INTO outbox (type, subject, sequence, data, space_id, actor)"
INSERT_TRACED = "INSERT INTO outbox (type, subject, sequence, data, space_id, actor, traceparent)"


class Outbox(Base):
    """One event. `id` is the order of writing, `position` the order of sending."""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    event_id: Mapped[str] = mapped_column(
        UUID(as_uuid=False), unique=True, server_default=text("gen_random_uuid()")
    )
    type: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    sequence: Mapped[int] = mapped_column(Integer)
    time: Mapped[datetime] = mapped_column(UtcDateTime, server_default=text("clock_timestamp()"))
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    position: Mapped[int | None] = mapped_column(BigInteger)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    traceparent: Mapped[str | None] = mapped_column(Text)
    actor: Mapped[str | None] = mapped_column(Text)  # who did it: `users/7` or `keys/3`
    space_id: Mapped[int | None] = mapped_column(BigInteger)  # where

    __table_args__ = (
        Index("uq_outbox_subject_sequence", "subject", "sequence", unique=True),
        Index("ix_outbox_unsent", "id", postgresql_where=text("position IS NULL")),
        Index(
            "uq_outbox_position",
            "position",
            unique=True,
            postgresql_where=text("position IS NOT NULL"),
        ),
        Index(
            "ix_outbox_type_position",
            "type",
            "position",
            postgresql_where=text("position IS NOT NULL"),
        ),
    )


class RelayPosition(Base):
    """The last position given out.

    It is a row of its own, so that pruning the log cannot set it back.
    """

    __tablename__ = "relay_position"

    id: Mapped[bool] = mapped_column(Boolean, primary_key=True, server_default=text("true"))
    position: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))

    __table_args__ = (CheckConstraint("id", name="one_row"),)


# NOTIFY serialises commits, one flush to disk after the other, and costs a quarter of the
# throughput with 32 writers. So writers notify only while the relay sleeps, which they see by its
# advisory lock. They hold that lock shared until they commit: the relay cannot fall asleep while
# events are about to be committed.
TRIGGER_FUNCTION = f"""
CREATE FUNCTION outbox_wake_relay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock_shared({locks.RELAY_CLASS}, {locks.RELAY_ASLEEP}) THEN
        PERFORM pg_notify('{WAKE_CHANNEL}', '');
    END IF;
    RETURN NULL;
END
$$
"""
TRIGGER = """
CREATE TRIGGER outbox_wake_relay AFTER INSERT ON outbox
FOR EACH STATEMENT EXECUTE FUNCTION outbox_wake_relay()
"""
# After the table and its trigger are dropped.
DROP_TRIGGER_FUNCTION = "DROP FUNCTION IF EXISTS outbox_wake_relay()"

for moment, statement in (
    ("after_create", TRIGGER_FUNCTION),
    ("after_create", TRIGGER),
    ("after_drop", DROP_TRIGGER_FUNCTION),
):
    # SQLAlchemy has no types for `DDL`.
    event.listen(Outbox.__table__, moment, DDL(statement))  # type: ignore[no-untyped-call]


class Sent(NamedTuple):
    """An event of the log and its position."""

    position: int
    event: Event


class Bounds(NamedTuple):
    """The range of the log: events after position `pruned`, up to and including `last`."""

    pruned: int
    last: int


def record(
    session: AsyncSession,
    type: str,  # noqa: A002 - CloudEvents' name
    subject: str,
    sequence: int,
    data: dict[str, Any],
    traceparent: str | None = None,
    *,
    space_id: int | None = None,
    actor: str | None = None,
) -> Event:
    """Write an event in the caller's transaction.

    The caller took `sequence` under the lock of the subject's row. `traceparent` is that of the
    cause; by default that of the current span. `actor` is by default who makes the request.
    """
    fact = Event(
        id=new_event_id(),
        type=type,
        subject=subject,
        sequence=sequence,
        time=utcnow(),
        data=data,
        traceparent=traceparent or tracing.traceparent(),
        actor=actor or requester.actor(),
        space=space_id,
    )
    values = msgspec.structs.asdict(fact)
    session.add(Outbox(event_id=values.pop("id"), space_id=values.pop("space"), **values))
    return fact


COLUMNS = "event_id, type, subject, sequence, time, data, traceparent, actor, space_id"
_READ = f"SELECT position, {COLUMNS} FROM outbox WHERE position > $1 ORDER BY position LIMIT $2"
# One short index range per type, however rare the types are among all events.
_READ_TYPES = f"""
    SELECT found.* FROM unnest($3::text[]) AS wanted CROSS JOIN LATERAL (
        SELECT position, {COLUMNS} FROM outbox
        WHERE type = wanted AND position > $1 ORDER BY position LIMIT $2
    ) AS found
    ORDER BY position LIMIT $2
"""
_BOUNDS = """
    SELECT relay.position AS last,
        coalesce((SELECT min(position) - 1 FROM outbox), relay.position) AS pruned
    FROM relay_position AS relay
"""
# Subjects whose sequence has a gap; pruning only removes from a subject's beginning.
GAPS = (
    "SELECT subject FROM outbox GROUP BY subject HAVING max(sequence) - min(sequence) + 1 <> "
    "count(*)"
)
# Positions and times of sending grow together, so only the oldest rows are read.
_PRUNE = """
    DELETE FROM outbox WHERE id IN (
        SELECT id FROM (
            SELECT id, sent_at FROM outbox WHERE position IS NOT NULL ORDER BY position LIMIT $2
        ) AS oldest
        WHERE sent_at < clock_timestamp() - $1::interval
    )
    RETURNING id
"""


async def read(
    database: Database,
    after_position: int = 0,
    types: Sequence[str] | None = None,
    limit: int = READ_LIMIT,
) -> list[Sent]:
    """Read the sent events after a position, of all or of some types, in order of position."""
    if types is None:
        rows = await database.fetch(_READ, after_position, limit)
    else:
        rows = await database.fetch(_READ_TYPES, after_position, limit, list(types))
    return [Sent(row["position"], event_of(row)) for row in rows]


async def bounds(database: Database) -> Bounds:
    """Return the range of the log, in which a reader looks for its position."""
    row = await database.fetchrow(_BOUNDS)
    return Bounds(pruned=row["pruned"], last=row["last"]) if row else Bounds(0, 0)


async def prune(database: Database, retention: timedelta) -> int:
    """Delete events sent longer ago than `retention`, in small batches; return how many."""
    pruned = 0
    while batch := len(await database.fetch(_PRUNE, retention, PRUNE_BATCH)):
        pruned += batch
    return pruned


def event_of(row: asyncpg.Record) -> Event:
    """Make the event from a driver's row that holds `COLUMNS`."""
    return Event(
        id=str(row["event_id"]),
        type=row["type"],
        subject=row["subject"],
        sequence=row["sequence"],
        time=row["time"],
        data=_json.decode(row["data"]),
        traceparent=row["traceparent"],
        actor=row["actor"],
        space=row["space_id"],
    )


_json = msgspec.json.Decoder(dict[str, Any])
