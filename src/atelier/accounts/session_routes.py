"""Signing in and sessions over HTTP: parse, call, shape."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Path, Request, Response

from atelier.accounts import passwords, sessions
from atelier.accounts.requests import UNSEEN, client_of, lives, session_ended, user_ended
from atelier.accounts.schemas import (
    EMAIL_MAX,
    PASSWORD_MAX,
    Pair,
    Refresh,
    Reset,
    SessionRecord,
)
from atelier.errors import Invalid, Malformed, Unsupported
from atelier.http.auth import REFRESH_URL, TOKEN_URL, Person
from atelier.http.bodies import OPEN_LIMIT, read
from atelier.http.json import json_response
from atelier.http.paging import Page
from atelier.http.problems import responses
from atelier.http.ratelimit import Kind
from atelier.http.resources import Res
from atelier.wire.complaints import REQUIRED, TWICE
from atelier.wire.moments import from_microseconds, microseconds

FORM = "application/x-www-form-urlencoded"
FORM_FIELDS = 16

router = APIRouter(tags=["accounts"])
SessionId = Annotated[
    str,
    Path(
        description="The session, as the list names it.",
        examples=["0b9f6c1e-1f0d-4c1f-8a6f-6f0e4f9f2a11"],
        max_length=64,
    ),
]

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
    opened = await sessions.sign_in(
        resources.database,
        resources.tokens,
        resources.passwords,
        resources.limits,
        username=form["username"],
        password=form["password"],
        client=client_of(request),
        lives=lives(resources.settings),
    )
    pair = sessions.pair(resources.tokens, *opened)
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


@router.post(REFRESH_URL, response_model=Pair, responses=responses(401, 422, 429, 503))
async def refresh(request: Request, resources: Res, body: Refresh) -> Response:
    """Get new tokens for a refresh token.

    A refresh token works once; for ten seconds more it gives the same pair again, as two tabs need
    it. A use after that ends the session.
    """
    async with resources.limits.attempt(Kind.REFRESH, client=client_of(request).address):
        pair = await sessions.refresh(
            resources.database,
            resources.tokens,
            partial(session_ended, resources),
            refresh_token=body.refresh_token,
            lives=lives(resources.settings),
        )
    return json_response(pair.model_dump(), headers=UNSEEN)


@router.post("/api/auth/logout", status_code=204, responses=responses(401))
async def logout(resources: Res, user: Person) -> Response:
    """Sign out.

    The access token and every refresh token of this session are no longer valid.
    """
    await sessions.sign_out(resources.database, partial(session_ended, resources), user)
    return Response(status_code=204)


@router.get(
    "/api/auth/sessions",
    response_model=list[SessionRecord],
    responses=responses(401, 422),
)
async def session_index(resources: Res, user: Person, page: Page) -> Response:
    """List my sessions.

    Those that are open, newest first, in pages: when they were opened and last prolonged, and
    from where.
    """
    before = None if page.before is None else from_microseconds(page.before)
    found = await sessions.index(resources.database, user, before=before, limit=page.fetch)
    shown = found[: page.limit]
    more = len(found) > page.limit
    headers = page.headers(microseconds(shown[-1].created_at)) if more else None
    return json_response([each.model_dump() for each in shown], headers=headers)


@router.delete(
    "/api/auth/sessions/{session_id}", status_code=204, responses=responses(401, 404, 422)
)
async def end_session(resources: Res, user: Person, session_id: SessionId) -> Response:
    """End one of my sessions.

    Its tokens are no longer valid; that of this request may be among them.
    """
    await sessions.end(resources.database, partial(session_ended, resources), user, session_id)
    return Response(status_code=204)


@router.post(
    "/api/auth/reset", status_code=204, responses=responses(400, 403, 413, 415, 422, 429, 503)
)
async def reset(request: Request, resources: Res, body: Reset) -> Response:
    """Set a new password by a link.

    The operator makes the link (`atelier users reset`); it is valid for an hour and works once.
    Every session of mine ends.
    """
    await passwords.reset(
        resources.database,
        resources.passwords,
        resources.limits,
        partial(user_ended, resources),
        token=body.token,
        password=body.password.get_secret_value(),
        client=client_of(request).address,
    )
    return Response(status_code=204)
