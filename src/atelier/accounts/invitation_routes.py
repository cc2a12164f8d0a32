"""Invitations to a team's space over HTTP: parse, call, shape."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.accounts import invitations, links, registration, shown_once
from atelier.accounts.models import AccountLink, User
from atelier.accounts.requests import client_of
from atelier.accounts.schemas import Account, Address, LinkToken, Password
from atelier.auth import Role, Tokens, is_person
from atelier.http.auth import Person
from atelier.http.credentials import authenticate
from atelier.http.idempotency import Key, once
from atelier.http.json import json_response
from atelier.http.paging import Page, page_response
from atelier.http.problems import responses
from atelier.http.resources import Res, Resources
from atelier.http.strict import Decimal
from atelier.http.teams import Teams
from atelier.wire.complaints import REQUIRED, refused
from atelier.wire.idempotency import fingerprint, scope

CREATE, ACCEPT = "POST /api/invitations", "POST /api/invitations/accept"
MAX_ID = 2**63 - 1
PURPOSE = "invitation"  # of the digests that tokens are made of
_EXAMPLE: dict[str, Any] = {"space_id": 12, "role": "editor", "email": "anna@example.org"}
_TOKEN = "V2hhdCBhIHF1aWV0IHBsYWNlIHRoaXMgaXMgdG8gd29yaw"  # noqa: S105 - an example

router = APIRouter(prefix="/api/invitations", tags=["invitations"])
Id = Annotated[
    int, Field(ge=1, le=MAX_ID), Decimal, Path(description="The invitation.", examples=[31])
]
RoleName = Literal["viewer", "worker", "editor", "owner"]


class NewInvitation(BaseModel):
    """An invitation to a team's space."""

    model_config = ConfigDict(
        strict=True, extra="forbid", json_schema_extra={"examples": [_EXAMPLE]}
    )

    space_id: Annotated[int, Field(ge=1, le=MAX_ID)]
    role: RoleName
    email: Address | None = Field(
        None, description="Whom it is for; left out: whoever has the link."
    )


class InvitationRecord(BaseModel):
    """An open invitation without its token."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                _EXAMPLE
                | {
                    "id": 31,
                    "created_by": 7,
                    "created_at": "2026-11-21T09:30:00Z",
                    "expires_at": "2026-11-28T09:30:00Z",
                }
            ]
        },
    )

    id: int
    space_id: int
    role: RoleName
    email: str | None
    created_by: int
    created_at: datetime
    expires_at: datetime


class MadeInvitation(InvitationRecord):
    """A new invitation with its token, which is shown this once."""

    token: Annotated[str, Field(examples=[_TOKEN])]
    link: Annotated[str, Field(examples=[f"https://atelier.example.org/invitation#{_TOKEN}"])]


class Acceptance(BaseModel):
    """The token of an invitation and, for who has no account, what makes one."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"token": _TOKEN, "email": "anna@example.org", "password": "a quiet workshop"}
            ]
        },
    )

    token: LinkToken
    email: Address | None = Field(None, description="Of the account to be made.")
    password: Password | None = None


class Joined(BaseModel):
    """A new membership."""

    space_id: int = Field(examples=[12])
    role: RoleName
    user_id: int = Field(description="Who is a member now.", examples=[7])


def _record(link: AccountLink) -> dict[str, object]:
    return InvitationRecord.model_validate(link).model_dump()


@router.post(
    "",
    status_code=201,
    response_model=MadeInvitation,
    responses=responses(400, 401, 403, 404, 409, 415, 422, 503),
)
async def create(body: NewInvitation, user: Person, res: Res, key: Key = None) -> Response:
    """Invite somebody to a team's space.

    For its owners. The answer has the link, once: it works once, for seven days, for that address
    alone, or for whoever has it.
    """
    mark = fingerprint(body.space_id, body.role, body.email)
    salt, hours = shown_once.new_salt(), res.settings.idempotency_hours
    async with once(res.database, scope(user.user_id, CREATE), key, mark, hours=hours) as run:
        if run.replay:
            return _shown(res, run.replay)
        await invitations.create(
            res.database,
            _teams(res),
            user,
            space_id=body.space_id,
            role=Role(body.role),
            email=body.email,
            token=shown_once.secret_of(res.tokens, PURPOSE, salt),
            before_commit=lambda session, link: run.keep(
                session, shown_once.kept(_record(link), salt)
            ),
        )
        return _shown(res, run.answer)


def _shown(res: Resources, answer: Response) -> Response:
    """The kept answer with the token."""
    record, salt = shown_once.opened(answer)
    token = shown_once.secret_of(res.tokens, PURPOSE, salt)
    link = f"{res.settings.base_url}{links.INVITATION_PAGE}#{token}"
    return shown_once.shown(answer, record | {"token": token, "link": link})


def _teams(res: Resources) -> Teams:
    if res.teams is None:
        raise LookupError("this process serves no spaces")
    return res.teams


@router.get("", response_model=list[InvitationRecord], responses=responses(401, 403, 422))
async def index(user: Person, res: Res, page: Page) -> Response:
    """List the open invitations.

    To the spaces that I own, newest first, without their tokens.
    """
    found = await invitations.page(res.database, user, before=page.before, limit=page.fetch)
    return page_response(page, [_record(link) for link in found])


@router.delete("/{invitation_id}", status_code=204, responses=responses(401, 403, 404, 422, 503))
async def delete(invitation_id: Id, user: Person, res: Res) -> Response:
    """Withdraw an invitation.

    Its link works no more.
    """
    await invitations.revoke(res.database, user, invitation_id)
    return Response(status_code=204)


@router.post(
    "/accept",
    status_code=201,
    response_model=Joined,
    responses=responses(400, 401, 403, 409, 415, 422, 429, 503),
)
async def accept(request: Request, body: Acceptance, res: Res, key: Key = None) -> Response:
    """Accept an invitation.

    With an address and a password it makes an account, which is a member of the space; sign in
    with it then. Without them whoever is signed in becomes a member. An invitation that names an
    address is for that account alone.
    """
    if body.email is None and body.password is None:
        return await _enter(request, body, res, key)
    if body.email is None or body.password is None:
        raise refused(REQUIRED, "body", "email" if body.email is None else "password")
    return await _register(
        request, body.token, body.email, body.password.get_secret_value(), res, key
    )


async def _enter(request: Request, body: Acceptance, res: Resources, key: str | None) -> Response:
    """Add the space to the account that is signed in."""
    user = await authenticate(request.scope, res.authenticator)
    is_person(user)
    hours, mark = res.settings.idempotency_hours, fingerprint(_mark(res.tokens, body.token))
    async with once(res.database, scope(user.user_id, ACCEPT), key, mark, hours=hours) as run:
        if run.replay:
            return run.replay
        await invitations.accept(
            res.database,
            _teams(res),
            user.user_id,
            body.token,
            before_commit=lambda session, link: run.keep(
                session, json_response(_joined(link, user.user_id), 201)
            ),
        )
        await res.membership_changed(user.user_id)
        return run.answer


async def _register(
    request: Request, token: str, email: str, password: str, res: Resources, key: str | None
) -> Response:
    """Make an account, with the space."""
    mark = res.tokens.digest("accept", orjson.dumps([token, email, password]))
    hours = res.settings.idempotency_hours
    async with once(res.database, registration.ACCEPTANCES, key, mark, hours=hours) as run:
        if run.replay:
            return run.replay
        link = await invitations.target(res.database, token)

        async def keep(session: AsyncSession, made: User) -> None:
            tag = Account.model_validate(made).etag
            answer = json_response(_joined(link, made.id), 201, {"ETag": f'"{tag}"'})
            await run.keep(session, answer)

        await registration.register(
            res.database,
            res.passwords,
            res.limits,
            res.settings.admission,
            email=email,
            password=password,
            invitation=token,
            teams=res.teams,
            client=client_of(request).address,
            before_commit=keep,
        )
        return run.answer


def _mark(tokens: Tokens, token: str) -> str:
    """A token as a fingerprint may hold it."""
    return tokens.digest("accept", token.encode(errors="replace")).hex()


def _joined(link: AccountLink, user_id: int) -> dict[str, object]:
    return {"space_id": link.space_id, "role": link.role, "user_id": user_id}
