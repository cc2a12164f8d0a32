"""The trash over HTTP: parse, call, shape."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from atelier.auth import Principal
from atelier.http.auth import CurrentUser
from atelier.http.json import json_response
from atelier.http.paging import Page
from atelier.http.problems import responses
from atelier.http.resources import Res
from atelier.http.spaces import Space
from atelier.trash import service
from atelier.trash.schemas import Purged, Restored, Subjects, TrashItem
from atelier.wire.complaints import refused
from atelier.wire.spaces import MAX_ID
from atelier.wire.trash import Kind

router = APIRouter(prefix="/api/trash", tags=["trash"])
OfKind = Annotated[Kind | None, Query(description="Only things of this kind.")]


@router.get("", response_model=list[TrashItem], responses=responses(401, 403, 404, 422, 503))
async def index(
    user: CurrentUser, res: Res, page: Page, kind: OfKind = None, space: Space = None
) -> Response:
    """List what was deleted and can be restored.

    Last deleted first, in pages; of the kinds that the caller may delete. It stays for
    `trash_days`.
    """
    found = await service.page(
        res.database, user, _space(user, space), kind, before=page.before, limit=page.fetch
    )
    shown, life = found[: page.limit], timedelta(days=res.settings.trash_days)
    headers = page.headers(shown[-1]["id"]) if len(found) > page.limit else None
    return json_response([_item(row, life) for row in shown], headers=headers)


@router.post(
    "/restore",
    response_model=Restored,
    responses=responses(400, 401, 403, 404, 409, 413, 415, 422, 503),
)
async def restore(body: Subjects, user: CurrentUser, res: Res) -> Response:
    """Restore deleted things.

    All of them or none, with their old ids. A task needs the stored picture that it was made of,
    which may come back with it; where its queue is gone it comes back without one.
    """
    number = await service.restore(res.database, res.cache, user, _named(body), res.restorers)
    return json_response({"restored": number})


@router.post(
    "/purge",
    response_model=Purged,
    responses=responses(400, 401, 403, 404, 413, 415, 422, 503),
)
async def purge(body: Subjects, user: CurrentUser, res: Res) -> Response:
    """Purge deleted things now.

    All of them or none; they cannot be restored afterwards.
    """
    return json_response({"purged": await service.purge(res.database, user, _named(body))})


@router.delete("", response_model=Purged, responses=responses(401, 403, 404, 422, 503))
async def empty(user: CurrentUser, res: Res, kind: OfKind = None, space: Space = None) -> Response:
    """Empty the trash of a space.

    Of the kinds that the caller may delete, what is in it when the request comes.
    """
    number = await service.empty(res.database, user, _space(user, space), kind)
    return json_response({"purged": number})


def _space(user: Principal, space: int | None) -> int:
    return user.home if space is None else space


def _named(body: Subjects) -> list[tuple[Kind, int]]:
    """What a body names, each once. Raises Invalid for a number that is no id."""
    named: dict[tuple[Kind, int], None] = {}
    for place, subject in enumerate(body.subjects):
        table, _, number = subject.partition("/")
        if int(number) > MAX_ID:
            raise refused("No id is so large", "body", "subjects", place)
        named[Kind(table.removesuffix("s")), int(number)] = None
    return list(named)


def _item(row: Mapping[str, Any], life: timedelta) -> dict[str, Any]:
    return {
        "subject": f"{row['kind']}s/{row['thing_id']}",
        "kind": row["kind"],
        "id": row["thing_id"],
        "space_id": row["owner_id"],
        "title": row["title"],
        "size": row["size"],
        "deleted_at": row["deleted_at"],
        "actor": row["actor"],
        "purged_at": row["deleted_at"] + life,
    }
