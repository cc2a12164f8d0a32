"""Spaces over HTTP: parse, call, shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import Field

from atelier.auth import Role
from atelier.http.auth import CurrentUser, Person
from atelier.http.conditional import if_match, record_response
from atelier.http.encoding import dumps
from atelier.http.idempotency import Key, once
from atelier.http.json import json_response
from atelier.http.paging import Page, page_response
from atelier.http.problems import responses
from atelier.http.resources import Res, Resources
from atelier.http.strict import Decimal
from atelier.spaces import members, queries, service
from atelier.spaces.schemas import (
    ListedSpace,
    MemberRecord,
    NewRole,
    NewSpace,
    SpaceChange,
    SpaceRecord,
    TaskCounts,
)
from atelier.spaces_table import Space
from atelier.wire.idempotency import fingerprint, scope
from atelier.wire.preconditions import ON_MATCH, SAME, UNLESS_SAME

CREATE = "POST /api/spaces"
MAX_ID = 2**63 - 1

router = APIRouter(prefix="/api/spaces", tags=["spaces"])
Id = Annotated[int, Field(ge=1, le=MAX_ID), Decimal, Path(description="The space.", examples=[12])]
UserId = Annotated[
    int, Field(ge=1, le=MAX_ID), Decimal, Path(description="The member.", examples=[7])
]


def _record(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in SpaceRecord.model_fields}


def _listed(row: Mapping[str, Any]) -> dict[str, Any]:
    counts = {name: row[name] for name in ("pictures", "files", "bytes")}
    states = {name: row[name] for name in TaskCounts.model_fields}
    return _record(row) | counts | {"tasks": states}


def _team(space: Space, role: Role) -> dict[str, Any]:
    about = {"id": space.id, "name": space.name, "created_at": space.created_at}
    return _record(about | {"personal": False, "role": role})


async def _changed(resources: Resources, *users: int) -> None:
    """Have every process ask anew what these users may do."""
    for user_id in users:
        await resources.membership_changed(user_id)


@router.get("", response_model=list[ListedSpace], responses=responses(401, 422))
async def index(user: CurrentUser, res: Res, page: Page) -> Response:
    """List my spaces.

    My own and those of the teams that I am in, newest first, each with my role and what is in it.
    An API key sees the one that it is for.
    """
    found = await queries.page(res.database, user, before=page.before, limit=page.fetch)
    return page_response(page, [_listed(row) for row in found])


@router.post(
    "",
    status_code=201,
    response_model=SpaceRecord,
    responses=responses(400, 401, 403, 409, 415, 422, 503),
)
async def create(body: NewSpace, user: Person, res: Res, key: Key = None) -> Response:
    """Make a space for a team.

    Its maker is its owner; the others come by invitation.
    """
    mark, hours = fingerprint(body.name), res.settings.idempotency_hours
    async with once(res.database, scope(user.user_id, CREATE), key, mark, hours=hours) as run:
        if run.replay:
            return run.replay
        await service.create(
            res.database,
            user,
            body.name,
            limit=res.settings.space_limit,
            before_commit=lambda session, space: run.keep(session, _created(space)),
        )
        await _changed(res, user.user_id)
        return run.answer


def _created(space: Space) -> Response:
    headers = {"Location": f"/api/spaces/{space.id}", "ETag": f'"{space.sequence}"'}
    return json_response(_team(space, Role.OWNER), 201, headers)


@router.get(
    "/{space_id}",
    response_model=SpaceRecord,
    responses=SAME | responses(401, 404, 422),
    openapi_extra=UNLESS_SAME,
)
async def read(request: Request, space_id: Id, user: CurrentUser, res: Res) -> Response:
    """Get a space.

    With my role in it; the list says what is in each.
    """
    row = await queries.find(res.database, user, space_id)
    return record_response(request, dumps(_record(row)), str(row["sequence"]))


@router.patch(
    "/{space_id}",
    response_model=SpaceRecord,
    responses=responses(400, 401, 403, 404, 409, 412, 415, 422, 503),
    openapi_extra=ON_MATCH,
)
async def change(
    request: Request, space_id: Id, body: SpaceChange, user: Person, res: Res
) -> Response:
    """Rename a team's space.

    For its owners.
    """
    space = await service.rename(res.database, user, space_id, body.name, if_match(request))
    return record_response(request, dumps(_team(space, Role.OWNER)), str(space.sequence))


@router.get(
    "/{space_id}/members",
    response_model=list[MemberRecord],
    responses=responses(401, 403, 404, 422),
)
async def member_index(space_id: Id, user: Person, res: Res, page: Page) -> Response:
    """List the members of a space.

    For its members. Those with the newest accounts come first.
    """
    found = await queries.members(
        res.database, user, space_id, before=page.before, limit=page.fetch
    )
    return page_response(page, found, by="user_id")


@router.put(
    "/{space_id}/members/{user_id}",
    response_model=MemberRecord,
    responses=responses(400, 401, 403, 404, 409, 415, 422, 503),
)
async def change_member(
    space_id: Id, user_id: UserId, body: NewRole, user: Person, res: Res
) -> Response:
    """Give a member another role.

    For owners; whoever is no member comes by invitation. The last owner stays one: make somebody
    else an owner first.
    """
    await members.change(res.database, user, space_id, user_id, Role(body.role))
    await _changed(res, user_id)
    return json_response(await queries.member(res.database, space_id, user_id))


@router.delete(
    "/{space_id}/members/{user_id}",
    status_code=204,
    responses=responses(401, 403, 404, 409, 422, 503),
)
async def remove_member(space_id: Id, user_id: UserId, user: Person, res: Res) -> Response:
    """Remove a member, or leave.

    An owner removes others, everybody may leave; the last owner may not. What they made stays;
    their API keys of this space end.
    """
    await members.remove(res.database, user, space_id, user_id)
    await _changed(res, user_id)
    return Response(status_code=204)


@router.delete(
    "/{space_id}",
    status_code=204,
    responses=responses(400, 401, 403, 404, 409, 412, 422, 503),
    openapi_extra=ON_MATCH,
)
async def delete(request: Request, space_id: Id, user: Person, res: Res) -> Response:
    """Delete a team's space.

    With all pictures, tasks and files in it, for all its members. Only its owners may. One's own
    space goes with the account alone.
    """
    people = await service.delete(res.database, user, space_id, res.forget, if_match(request))
    await _changed(res, *people)
    return Response(status_code=204)
