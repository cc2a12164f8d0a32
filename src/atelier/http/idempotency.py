"""Idempotency keys: a POST that is sent again is answered again, not done again.

The answer is kept in the transaction of the thing it announces, so neither exists without the
other. Knows no slice.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

import orjson
from fastapi import Header, Response
from sqlalchemy import delete, text
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.database import Database
from atelier.errors import Conflict, Invalid
from atelier.http.idempotency_keys import REPLAY_HOURS, IdempotencyKey

RUNNING = "running"
LOCK = timedelta(
    seconds=60
)  # far above the time from key to commit; after it, a run counts as killed
RETRY_SECONDS = 1  # when the first run is likely to be done
REPLAYED = "Idempotent-Replayed"

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Makes the request safe to repeat: the same key and content are answered "
        "from the first run.",
        examples=["6f0c1c58-2f0d-4a43-9a6c-5c2f2b1f3c11"],
    ),
]


# A key is free when nobody has it, when its run was killed, or when its answer is no longer kept.
_TAKE = """
INSERT INTO idempotency_keys AS kept (scope, key, fingerprint, state, created_at, locked_at)
VALUES ($1, $2, $3, 'running', now(), now())
ON CONFLICT (scope, key) DO UPDATE
SET fingerprint = excluded.fingerprint, state = 'running', status = NULL, headers = NULL, body = NULL,
    created_at = excluded.created_at, locked_at = excluded.locked_at
WHERE kept.state = 'running' AND kept.fingerprint = excluded.fingerprint AND kept.locked_at < now() - $4::interval
   OR kept.created_at < now() - $5::interval
RETURNING locked_at
"""
# As text: SQLAlchemy's connections parse JSON, the driver's own do not.
_LOOK = """
    SELECT fingerprint, state, status, headers::text AS headers, body
    FROM idempotency_keys WHERE scope = $1 AND key = $2
"""
# Written out: built by the ORM it costs more than twice as much.
_COMPLETE = text("""
    UPDATE idempotency_keys SET state = 'done', status = :status, headers = CAST(:headers AS jsonb), body = :body
    WHERE scope = :scope AND key = :key AND locked_at = :locked_at AND state = 'running' RETURNING key
""")
_RELEASE = (
    "DELETE FROM idempotency_keys WHERE scope = $1 AND key = $2 AND locked_at = $3 AND "
    "state = 'running'"
)
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Replay:
    """The first run's answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def response(self) -> Response:
        """The answer, marked as said before."""
        return Response(self.body, self.status, self.headers | {REPLAYED: "true"})


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right to do what a key names.

    `locked_at` fences: once another run has taken over, this one cannot commit.
    """

    database: Database
    scope: str
    key: str
    locked_at: datetime

    async def complete(
        self, session: AsyncSession, status: int, headers: dict[str, str], body: bytes
    ) -> None:
        """Keep the answer in the caller's transaction.

        Raises Conflict when another run has taken over.
        """
        answer = {"status": status, "headers": orjson.dumps(headers).decode(), "body": body}
        mine = {"scope": self.scope, "key": self.key, "locked_at": self.locked_at}
        if await session.scalar(_COMPLETE, mine | answer) is None:
            raise _running("Another request with this Idempotency-Key has taken over.")

    async def release(self) -> None:
        """Give the key back: the run failed, and failures are not replayed."""
        await self.database.fetch(_RELEASE, self.scope, self.key, self.locked_at)


async def begin(
    database: Database, scope: str, key: str, fingerprint: bytes, *, hours: int = REPLAY_HOURS
) -> Replay | Ticket:
    """The first answer when there is one, else the right to make it.

    Raises Invalid when the key was used with other content and Conflict while its first run is at
    work.
    """
    while True:
        taken = await database.fetchrow(
            _TAKE, scope, key, fingerprint, LOCK, timedelta(hours=hours)
        )
        if taken is not None:
            return Ticket(database, scope, key, taken["locked_at"])
        kept = await database.fetchrow(_LOOK, scope, key)
        if kept is not None:  # else it was released between the two statements
            break
    return _replay(kept, fingerprint)


def _replay(kept: Mapping[str, Any], fingerprint: bytes) -> Replay:
    if kept["fingerprint"] != fingerprint:
        raise Invalid(
            "This Idempotency-Key was used with other content.", slug="idempotency-key-reused"
        )
    if kept["state"] == RUNNING:
        raise _running("The first request with this Idempotency-Key is still running.")
    return Replay(kept["status"], orjson.loads(kept["headers"]), kept["body"])


def _running(detail: str) -> Conflict:
    return Conflict(detail, slug="idempotency-key-running", retry_after=RETRY_SECONDS)


class Run:
    """One request's run.

    When `replay` is set, return it; else do the work, `keep` its answer, return `answer`.
    """

    answer: Response

    def __init__(self, ticket: Ticket | None, replay: Response | None) -> None:
        self._ticket = ticket
        self.replay = replay

    async def keep(self, session: AsyncSession, answer: Response) -> None:
        """Keep `answer` in the transaction that makes it true.

        To be awaited just before the commit.
        """
        self.answer = answer
        if self._ticket is not None:
            headers = {
                name: value for name, value in answer.headers.items() if name != "content-length"
            }
            await self._ticket.complete(session, answer.status_code, headers, bytes(answer.body))


@asynccontextmanager
async def once(
    database: Database,
    scope: str,
    key: str | None,
    fingerprint: bytes,
    *,
    hours: int = REPLAY_HOURS,
) -> AsyncIterator[Run]:
    """A run under `key`; without a key, one that is never replayed. A failure gives the key back.

    async with once(database, scope(user.user_id, "POST /api/books"), key, fingerprint(book)) as
    run:
        if run.replay:
            return run.replay
        await service.create(..., before_commit=lambda session, book: run.keep(session,
        created(book))) return run.answer
    """
    if key is None:
        yield Run(None, None)
        return
    begun = await begin(database, scope, key, fingerprint, hours=hours)
    if isinstance(begun, Replay):
        yield Run(None, begun.response())
        return
    try:
        yield Run(begun, None)
    except BaseException:  # a client that hung up cancels us: that, too, must give the key back
        await asyncio.shield(_give_back(begun))
        raise


async def within(
    database: Database,
    session: AsyncSession,
    scope: str,
    key: str,
    fingerprint: bytes,
    *,
    hours: int = REPLAY_HOURS,
) -> Run:
    """A run under `key` inside the caller's transaction, for work whose every effect is in that transaction.

    A second request with the key waits for the first to commit or fail, and one that was killed
    leaves nothing to wait for. Raises Invalid and Conflict as `begin` does.
    """
    connection = await session.connection()
    values = scope, key, fingerprint, LOCK, timedelta(hours=hours)
    while True:
        taken = (await connection.exec_driver_sql(_TAKE, values)).mappings().first()
        if taken is not None:
            return Run(Ticket(database, scope, key, taken["locked_at"]), None)
        kept = (await connection.exec_driver_sql(_LOOK, (scope, key))).mappings().first()
        if kept is not None:
            return Run(None, _replay(dict(kept), fingerprint).response())


async def _give_back(ticket: Ticket) -> None:
    try:
        await ticket.release()
    except Exception:  # the error of the run is the one to report; the lock lapses by itself
        log.warning("idempotency key not released; it is free again in %s", LOCK, exc_info=True)


def scope(user_id: int | None, operation: str) -> str:
    """Whose keys these are, and for what: `operation` is method and canonical path, whichever alias was called.

    Without a user all clients share one space of keys, so theirs must be hard to guess: a UUID,
    say.
    """
    return f"{'-' if user_id is None else user_id} {operation}"


def fingerprint(*values: Any) -> bytes:
    """SHA-256 over parsed values (for a file, give its own digest in hex), so that no boundary or key order counts."""
    return hashlib.sha256(orjson.dumps(values, option=orjson.OPT_SORT_KEYS)).digest()


async def forget(session: AsyncSession, user_id: int) -> None:
    """Delete every kept answer of one user within the caller's transaction."""
    await session.execute(
        delete(IdempotencyKey).where(
            IdempotencyKey.scope.startswith(scope(user_id, ""), autoescape=True)
        )
    )


async def forget_answer(session: AsyncSession, scope: str, etag: str) -> None:
    """Delete, within the caller's transaction, the kept answer about one object of a scope that no user owns."""
    await session.execute(
        delete(IdempotencyKey).where(
            IdempotencyKey.scope == scope, IdempotencyKey.headers["etag"].astext == f'"{etag}"'
        )
    )
