"""Changes of many pictures over HTTP: parse, judge, call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from fastapi import APIRouter, Response
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.auth import Principal, Right, in_space
from atelier.blobs import garbage
from atelier.http import allowance
from atelier.http.idempotency import Key, transacted
from atelier.http.json import json_response
from atelier.http.problems import responses
from atelier.http.resources import Res, Resources
from atelier.images import batch, deleting, moving, texts
from atelier.images.library_schemas import Action, Batch, Changed
from atelier.images.routes import Editor
from atelier.wire.complaints import REQUIRED, refused
from atelier.wire.idempotency import fingerprint, scope

BATCH = "POST /api/images/batch"

router = APIRouter(prefix="/api/images", tags=["images"])


class _Work:
    """What a request asks for; what it leaves to be done after the commit."""

    def __init__(self, res: Resources, user: Principal, body: Batch) -> None:
        self._res, self._user, self._body = res, user, body
        self.ids = list(dict.fromkeys(body.ids))
        self.tags = texts.tags(body.tags or ())
        if body.tags and not self.tags:
            raise refused(REQUIRED, "body", "tags")
        self.changed: Sequence[int] = ()
        self.garbage: Sequence[str] = ()
        self._allowed = allowance.allowance_of(res.settings)
        self._fill: Callable[[AsyncSession, Sequence[int]], Awaitable[int]] | None = None

    async def prepare(self) -> None:
        """Judge what does not depend on the pictures, before the transaction.

        Raises NotFound and NotAllowed.
        """
        res, body = self._res, self._body
        if body.space_id is not None:
            in_space(self._user, body.space_id, Right.IMAGES_WRITE)
            await allowance.begin(res.database, self._allowed, body.space_id)
        if body.queue_id is not None and res.fill is not None:
            self._fill = await res.fill(res.database, self._allowed, self._user, body.queue_id)

    async def __call__(self, session: AsyncSession) -> Response:
        """Do it, all or nothing, in a transaction; the answer."""
        number = await self._do(session)
        return json_response({"changed": number, "unchanged": len(self.ids) - number})

    async def _do(self, session: AsyncSession) -> int:
        cache, user, ids = self._res.cache, self._user, self.ids
        if self._fill is not None:
            return await self._fill(session, ids)
        if self._body.space_id is not None:
            self.changed = await moving.move(
                session, cache, self._allowed, principal=user, ids=ids, target=self._body.space_id
            )
        elif self._body.action is Action.DELETE:
            keep = self._res.settings.trash_days > 0
            self.garbage = await deleting.remove(
                session, cache, principal=user, ids=ids, keep=keep
            )
            self.changed = ids
        else:
            remove = self._body.action is Action.UNTAG
            self.changed = await batch.tag(
                session, cache, principal=user, ids=ids, tags=self.tags, remove=remove
            )
        return len(self.changed)

    async def finish(self) -> None:
        """Drop what was cached and remove the files, after the commit."""
        await self._res.cache.drop(moving.keys(self.changed))
        if self.garbage:
            await garbage.remove(self._res.database, self._res.blobs, self.garbage)


@router.post(
    "/batch",
    response_model=Changed,
    responses=responses(400, 401, 403, 404, 409, 413, 415, 422, 503),
)
async def change_many(body: Batch, user: Editor, res: Res, key: Key = None) -> Response:
    """Change up to a thousand pictures.

    All of them, or none if one is not there or may not be changed: tag, untag, move into another
    space, delete, or make tasks of them in a queue. Each that changes is an event, as if it were
    changed alone.
    """
    work = _Work(res, user, body)
    await work.prepare()
    answer = await transacted(
        res.database,
        scope(user.user_id, BATCH),
        key,
        fingerprint(body.action, work.ids, work.tags, body.space_id, body.queue_id),
        work,
        hours=res.settings.idempotency_hours,
    )
    await work.finish()
    return answer
