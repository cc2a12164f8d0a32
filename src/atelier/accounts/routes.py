"""One's own account over HTTP: parse, call, shape. Signing in is in `session_routes`."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import orjson
from fastapi import APIRouter, Path, Request, Response

from atelier.accounts import account, credentials, passwords, registration
from atelier.accounts.models import User
from atelier.accounts.requests import client_of, user_ended
from atelier.accounts.schemas import (
    Account,
    AccountChange,
    Leaving,
    PasswordChange,
    Registration,
)
from atelier.auth import Principal
from atelier.errors import Forbidden
from atelier.http.auth import CurrentUser, Person
from atelier.http.conditional import if_match, record_response
from atelier.http.encoding import dumps
from atelier.http.idempotency import Key, once
from atelier.http.json import json_response
from atelier.http.problems import responses
from atelier.http.resources import Res, Resources
from atelier.http.strict import Decimal
from atelier.wire.complaints import REQUIRED, refused
from atelier.wire.preconditions import ON_MATCH, SAME, UNLESS_SAME

LEFT = responses(400, 401, 403, 409, 412, 415, 422, 429, 503)
REGISTERED = responses(403, 409, 422, 429, 503)

router = APIRouter(tags=["accounts"])
UserId = Annotated[
    int,
    Decimal,
    Path(
        description="The account; one can delete only one's own.",
        examples=[7],
        json_schema_extra={
            "minimum": 1,
            "maximum": 2**63 - 1,
        },  # documented, not enforced: any other number is an unknown user
    ),
]


def _created(user: User) -> Response:
    made = Account.model_validate(user)
    return json_response(
        made.model_dump(), 201, {"Location": "/api/users/me", "ETag": f'"{made.etag}"'}
    )


@router.post(
    "/users", status_code=201, response_model=Account, responses=REGISTERED, deprecated=True
)
@router.post("/api/users", status_code=201, response_model=Account, responses=REGISTERED)
async def register(
    request: Request, resources: Res, body: Registration, key: Key = None
) -> Response:
    """Create an account.

    An e-mail address has one account; upper and lower case make no difference. The first account
    is the administrator. Where accounts are made by invitation, its token comes with the request.
    """
    password = body.password.get_secret_value()
    # Keyed: a plain digest of a stored password would invite guessing.
    fingerprint = resources.tokens.digest("register", orjson.dumps(_said(body, password)))
    hours = resources.settings.idempotency_hours
    async with once(
        resources.database, registration.REGISTRATIONS, key, fingerprint, hours=hours
    ) as run:
        if run.replay:
            return run.replay
        await registration.register(
            resources.database,
            resources.passwords,
            resources.limits,
            resources.settings.admission,
            email=body.email,
            password=password,
            invitation=body.invitation,
            teams=resources.teams,
            client=client_of(request).address,
            before_commit=lambda session, user: run.keep(session, _created(user)),
        )
        return run.answer


def _said(body: Registration, password: str) -> list[str]:
    """What makes two registrations the same."""
    return [body.email, password, *([body.invitation] if body.invitation else [])]


@router.get(
    "/api/users/me",
    response_model=Account,
    responses=SAME | responses(401),
    openapi_extra=UNLESS_SAME,
)
async def me(request: Request, resources: Res, user: CurrentUser) -> Response:
    """Get my account.

    Address, name, date of creation, and how many tasks I have created.
    """
    found = await account.me(resources.database, user.user_id)
    return record_response(request, dumps(found.model_dump()), found.etag)


@router.patch(
    "/api/users/me",
    response_model=Account,
    responses=responses(400, 401, 412, 415, 422, 503),
    openapi_extra=ON_MATCH,
)
async def change(request: Request, resources: Res, body: AccountChange, user: Person) -> Response:
    """Change my account.

    The name, as others are shown it: 1 to 100 characters on one line. Null takes it away.
    """
    changes = body.model_dump(exclude_unset=True)
    found = await account.rename(resources.database, user.user_id, changes, if_match(request))
    return record_response(request, dumps(found.model_dump()), found.etag)


@router.put(
    "/api/users/me/password",
    status_code=204,
    responses=responses(400, 401, 403, 415, 422, 429, 503),
)
async def change_password(
    request: Request, resources: Res, body: PasswordChange, user: Person
) -> Response:
    """Change my password.

    Every other session of mine ends; this one goes on. Wrong guesses of the present password are
    limited together with failed sign-ins.
    """
    await passwords.change(
        resources.database,
        resources.passwords,
        resources.limits,
        partial(user_ended, resources),
        user,
        current=body.current.get_secret_value(),
        new=body.new.get_secret_value(),
        client=client_of(request).address,
    )
    return Response(status_code=204)


@router.delete(
    "/user/{user_id}", status_code=204, responses=LEFT, openapi_extra=ON_MATCH, deprecated=True
)
@router.delete("/api/users/{user_id}", status_code=204, responses=LEFT, openapi_extra=ON_MATCH)
async def delete(
    request: Request,
    resources: Res,
    user_id: UserId,
    user: Person,
    body: Leaving | None = None,
) -> Response:
    """Delete my account.

    All tasks, pictures and files of my own space are deleted with it, and the teams in which
    nobody else is. What I made in other teams stays there. The last owner of such a team makes
    somebody else an owner first. A password in the body is checked; with a cookie session it is
    needed.
    """
    if user_id != user.user_id:
        raise Forbidden("Only its owner can delete an account.")
    await _confirm(request, resources, user, body or Leaving())
    async with resources.database.session() as session:
        await account.delete_account(
            session,
            user_id,
            if_match(request),
            forget=resources.forget,
            disown=resources.disown,
            teams=resources.teams,
        )
    await user_ended(resources, user_id)
    return Response(status_code=204)


async def _confirm(
    request: Request, resources: Resources, user: Principal, leaving: Leaving
) -> None:
    """Check the password where there is one. Raises Invalid where there has to be."""
    if leaving.password is None:
        # A browser sends its cookie by itself: somebody at an open screen is not yet its owner.
        if user.via_cookie:
            raise refused(REQUIRED, "body", "password")
        return
    await credentials.confirm(
        resources.database,
        resources.passwords,
        resources.limits,
        user_id=user.user_id,
        password=leaving.password.get_secret_value(),
        client=client_of(request).address,
    )
