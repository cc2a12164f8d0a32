"""The table of idempotency keys, and how old ones are removed.

Knows no request and no framework.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import CheckConstraint, Integer, LargeBinary, SmallInteger, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from atelier.database import Base, Database, UtcDateTime
from atelier.wire.idempotency import REPLAY_HOURS

PURGE_ROWS = 10_000  # per statement: none may run into the statement timeout
_PURGE = """
WITH gone AS (
    DELETE FROM idempotency_keys WHERE (scope, key) IN (
        SELECT scope, key FROM idempotency_keys WHERE created_at < now() - $1::interval
        LIMIT $2 FOR UPDATE SKIP LOCKED
    ) RETURNING 1
) SELECT count(*) FROM gone
"""


class IdempotencyKey(Base):
    """One key's first run: its content's fingerprint, and its answer once there is one.

    `scope` begins with the user's id, or `-` without a signed-in user, and names the
    operation. `holder` is the `presence` of the process that runs it.
    """

    __tablename__ = "idempotency_keys"

    scope: Mapped[str] = mapped_column(
        Text(collation="C"), primary_key=True
    )  # C: prefixes are ranges of the index
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(Text)
    status: Mapped[int | None] = mapped_column(SmallInteger)
    headers: Mapped[dict[str, str] | None] = mapped_column(JSONB(none_as_null=True))
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    locked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    holder: Mapped[int | None] = mapped_column(Integer)

    __table_args__ = (CheckConstraint("state in ('running', 'done')", name="state"),)


async def purge(database: Database, hours: int = REPLAY_HOURS) -> int:
    """Remove the keys whose answer is no longer replayed; how many."""
    removed = 0
    while True:
        row = await database.fetchrow(_PURGE, timedelta(hours=hours), PURGE_ROWS)
        count = row["count"] if row else 0
        removed += count
        if count < PURGE_ROWS:
            return removed
