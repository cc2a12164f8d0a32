"""Accounts over HTTP: parse, call, shape."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any
from urllib.parse import parse_qs

import orjson
from fastapi import APIRouter, Path, Request, Response

from atelier.accounts import revocations, service
from atelier.accounts.models import User
from atelier.accounts.schemas import EMAIL_MAX, PASSWORD_MAX, Account, Pair, Refresh, Registration
from atelier.errors import Forbidden, Invalid, Malformed, Unsupported
from atelier.http.auth import REFRESH_URL, TOKEN_URL, CurrentUser
from atelier.http.bodies import OPEN_LIMIT, read
from atelier.http.conditional import if_match, record_response
from atelier.http.encoding import dumps
from atelier.http.idempotency import Key, once
from atelier.http.json import json_response
from atelier.http.problems import responses
from atelier.http.ratelimit import Kind, client_of
from atelier.http.resources import Res, Resources
from atelier.http.strict import Decimal
from atelier.wire.complaints import REQUIRED, TWICE
from atelier.wire.preconditions import ON_MATCH, SAME, UNLESS_SAME

FORM = "application/x-www-form-urlencoded"
FORM_FIELDS = 16
LEFT = responses(400, 401, 403, 412, 422)
UNSEEN = {"Cache-Control": "no-store"}  # RFC 6749: no cache keeps tokens

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
    account = Account.model_validate(user)
    return json_response(
        account.model_dump(), 201, {"Location": "/api/users/me", "ETag": f'"{account.etag}"'}
    )


@router.post(
    "/users",
    status_code=201,
    response_model=Account,
    responses=responses(409, 422, 429, 503),
    deprecated=True,
)
@router.post(
    "/api/users", status_code=201, response_model=Account, responses=responses(409, 422, 429, 503)
)
async def register(
    request: Request, resources: Res, body: Registration, key: Key = None
) -> Response:
    """Create an account.

    An e-mail address has one account; upper and lower case make no difference.
    """
    password = body.password.get_secret_value()
    # Keyed: a plain digest of a stored password would invite guessing.
    fingerprint = resources.tokens.digest("register", orjson.dumps([body.email, password]))
    hours = resources.settings.idempotency_hours
    async with once(
        resources.database, service.REGISTRATIONS, key, fingerprint, hours=hours
    ) as run:
        if run.replay:
            return run.replay
        await service.register(
            resources.database,
            resources.passwords,
            resources.limits,
            email=body.email,
            password=password,
            client=client_of(request),
            before_commit=lambda session, user: run.keep(session, _created(user)),
        )
        return run.answer


_CREDENTIALS: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            FORM: {
                "schema": {
                    "type": "object",
                    "required": ["username", "password"],
                    "maxProperties": FORM_FIELDS,
                    "properties": {
                        "grant_type": {"type": "string", "enum": ["password"]},
                        "username": {"type": "string", "minLength": 1, "maxLength": EMAIL_MAX},
                        "password": {
                            "type": "string",
                            "minLength": 1,
                            "maxLength": PASSWORD_MAX,
                            "format": "password",
                        },
                    },
                    "example": {"username": "anna@example.org", "password": "a quiet workshop"},
                }
            }
        },
    }
}


@router.post(
    TOKEN_URL,
    response_model=Pair,
    responses=responses(400, 401, 413, 415, 422, 429, 503),
    openapi_extra=_CREDENTIALS,
)
async def token(request: Request, resources: Res) -> Response:
    """Sign in.

    With the password form of OAuth 2: `username` is the e-mail address. The answer has an access
    token and a refresh token.
    """
    form = await _form(request)
    if missing := [name for name in ("username", "password") if not form.get(name)]:
        raise Invalid(
            "The form is not complete.",
            errors=[{"loc": ["body", m], "msg": REQUIRED} for m in missing],
        )
    if form.get("grant_type", "password") != "password":
        raise Invalid(
            "Only the grant type `password` is offered here.", slug="unsupported-grant-type"
        )
    pair = await service.login(
        resources.database,
        resources.tokens,
        resources.passwords,
        resources.limits,
        username=form["username"],
        password=form["password"],
        client=client_of(request),
        days=resources.settings.refresh_token_days,
    )
    return json_response(pair.model_dump(), headers=UNSEEN)


async def _form(request: Request) -> dict[str, str]:
    """The fields of a URL-encoded form; a repeated field is ambiguous and so refused."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise Unsupported(f"Send the form as {FORM}.")
    body = await read(request, OPEN_LIMIT)
    try:
        fields = parse_qs(
            body.decode(), keep_blank_values=True, errors="strict", max_num_fields=FORM_FIELDS
        )
    except ValueError as error:
        raise Malformed("The form could not be read.") from error
    if repeated := [name for name, values in fields.items() if len(values) > 1]:
        raise Invalid(
            "A field is repeated.",
            errors=[{"loc": ["body", r], "msg": TWICE} for r in repeated],
        )
    return {name: values[0] for name, values in fields.items()}


async def _revoked(resources: Resources, session_id: str) -> None:
    await revocations.announce(resources.redis, resources.authenticator, session_id=session_id)


@router.post(REFRESH_URL, response_model=Pair, responses=responses(401, 422, 429))
async def refresh(request: Request, resources: Res, body: Refresh) -> Response:
    """Get new tokens for a refresh token.

    A refresh token works once; a second use ends the session.
    """
    async with resources.limits.attempt(Kind.REFRESH, client=client_of(request)):
        pair = await service.refresh(
            resources.database,
            resources.tokens,
            partial(_revoked, resources),
            refresh_token=body.refresh_token,
            days=resources.settings.refresh_token_days,
        )
    return json_response(pair.model_dump(), headers=UNSEEN)


@router.post("/api/auth/logout", status_code=204, responses=responses(401))
async def logout(resources: Res, user: CurrentUser) -> Response:
    """Sign out.

    The access token and every refresh token of this session are no longer valid.
    """
    await service.logout(resources.database, partial(_revoked, resources), user)
    return Response(status_code=204)


@router.get(
    "/api/users/me",
    response_model=Account,
    responses=SAME | responses(401),
    openapi_extra=UNLESS_SAME,
)
async def me(request: Request, resources: Res, user: CurrentUser) -> Response:
    """Get my account.

    Address, date of creation, and how many tasks I have created.
    """
    account = await service.me(resources.database, user.user_id)
    return record_response(request, dumps(account.model_dump()), account.etag)


@router.delete(
    "/user/{user_id}", status_code=204, responses=LEFT, openapi_extra=ON_MATCH, deprecated=True
)
@router.delete("/api/users/{user_id}", status_code=204, responses=LEFT, openapi_extra=ON_MATCH)
async def delete(request: Request, resources: Res, user_id: UserId, user: CurrentUser) -> Response:
    """Delete my account.

    All my tasks, pictures and files are deleted with it.
    """
    if user_id != user.user_id:
        raise Forbidden("Only its owner can delete an account.")
    async with resources.database.session() as session:
        await service.delete_account(session, user_id, resources.forget, if_match(request))
    await revocations.announce(resources.redis, resources.authenticator, user_id=user_id)
    return Response(status_code=204)
