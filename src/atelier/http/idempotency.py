"""Idempotency keys on the API's connections: a run under a key, and its answer. Knows no slice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

import orjson
from fastapi import Header, Response
from pydantic import AfterValidator, Field
from sqlalchemy import delete, text
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.database import Database
from atelier.http.idempotency_keys import IdempotencyKey
from atelier.wire import idempotency as law
from atelier.wire.idempotency import REPLAY_HOURS, Replay


def _key(value: str) -> str:
    if not law.is_key(value):
        raise ValueError(law.KEY_NEEDED)
    return value


Key = Annotated[
    Annotated[str, AfterValidator(_key), Field(json_schema_extra=law.KEY_SCHEMA)] | None,
    Header(
        alias=law.HEADER,
        description=law.KEY_TEXT,
        examples=["6f0c1c58-2f0d-4a43-9a6c-5c2f2b1f3c11"],
    ),
]

_OWN = {"scope": "$1", "key": "$2"}
_TAKE = law.TAKE.format(
    **_OWN, fingerprint="$3", lock="$4::interval", life="$5::interval", holder="$6::integer"
)
_LOOK = law.LOOK.format(**_OWN, life="$3::interval")
_RELEASE = law.RELEASE.format(**_OWN, locked_at="$3")
# Written out: built by the ORM it costs more than twice as much.
_NAMES = ("scope", "key", "locked_at", "status", "headers", "body")
_COMPLETE = text(law.COMPLETE.format(**{name: f":{name}" for name in _NAMES}))
log = logging.getLogger(__name__)


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
            raise law.taken_over()

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
    life = timedelta(hours=hours)
    while True:
        taken = await database.fetchrow(
            _TAKE, scope, key, fingerprint, law.LOCK, life, database.presence
        )
        if taken is not None:
            return Ticket(database, scope, key, taken["locked_at"])
        kept = await database.fetchrow(_LOOK, scope, key, life)
        if kept is not None:  # else it was released between the two statements
            break
    return law.replay(kept, fingerprint)


def _response(replay: Replay) -> Response:
    return Response(replay.body, replay.status, replay.marked)


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
            headers = law.kept_headers(answer.headers)
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

    ::

        async with once(database, scope(user.user_id, CREATE), key, fingerprint(book)) as run:
            if run.replay:
                return run.replay
            await service.create(..., before_commit=keep(run))
            return run.answer
    """
    if key is None:
        yield Run(None, None)
        return
    begun = await begin(database, scope, key, fingerprint, hours=hours)
    if isinstance(begun, Replay):
        yield Run(None, _response(begun))
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
    """A run under `key` in the caller's transaction, where every effect of the work is.

    A second request with the key waits for the first to commit or fail, and one that was killed
    leaves nothing to wait for. Raises Invalid and Conflict as `begin` does.
    """
    connection = await session.connection()
    life = timedelta(hours=hours)
    values = scope, key, fingerprint, law.LOCK, life, None  # nobody sees it before the commit
    while True:
        taken = (await connection.exec_driver_sql(_TAKE, values)).mappings().first()
        if taken is not None:
            return Run(Ticket(database, scope, key, taken["locked_at"]), None)
        kept = (await connection.exec_driver_sql(_LOOK, (scope, key, life))).mappings().first()
        if kept is not None:
            return Run(None, _response(law.replay(dict(kept), fingerprint)))


async def transacted(
    database: Database,
    scope: str,
    key: str | None,
    fingerprint: bytes,
    work: Callable[[AsyncSession], Awaitable[Response]],
    *,
    hours: int = REPLAY_HOURS,
) -> Response:
    """The answer of `work`, all of whose effects are in the transaction that it gets.

    Under a key the first answer is given again, and nothing done. What `work` raises undoes all.
    """
    async with database.session() as session:
        run = Run(None, None)
        if key is not None:
            run = await within(database, session, scope, key, fingerprint, hours=hours)
        if run.replay:
            return run.replay
        answer = await work(session)
        await run.keep(session, answer)
        await session.commit()
    return answer


async def _give_back(ticket: Ticket) -> None:
    try:
        await ticket.release()
    except Exception:  # the error of the run is the one to report; the lock lapses by itself
        log.warning(
            "idempotency key not released; it is free again in %s", law.LOCK, exc_info=True
        )


async def forget(session: AsyncSession, user_id: int) -> None:
    """Delete every kept answer of one user within the caller's transaction."""
    await session.execute(
        delete(IdempotencyKey).where(
            IdempotencyKey.scope.startswith(law.scope(user_id, ""), autoescape=True)
        )
    )


async def forget_answer(session: AsyncSession, scope: str, etag: str) -> None:
    """Delete, in the caller's transaction, the answer about one object of a scope."""
    await session.execute(
        delete(IdempotencyKey).where(
            IdempotencyKey.scope == scope, IdempotencyKey.headers["etag"].astext == f'"{etag}"'
        )
    )
