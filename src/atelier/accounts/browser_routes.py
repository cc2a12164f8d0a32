"""The session of a browser over HTTP: a cookie in the place of tokens, made and ended."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from atelier.accounts import account, sessions
from atelier.accounts.models import COOKIE
from atelier.accounts.requests import UNSEEN, client_of, lives, session_ended
from atelier.accounts.schemas import EMAIL_MAX, PASSWORD_MAX, Account
from atelier.http.auth import Person
from atelier.http.credentials import SECURE_COOKIE, cookie_name, require_own_page
from atelier.http.json import json_response
from atelier.http.problems import responses
from atelier.http.resources import Res

router = APIRouter(prefix="/api/session", tags=["accounts"])


class BrowserSignIn(BaseModel):
    """Who signs in."""

    model_config = ConfigDict(
        strict=True,
        json_schema_extra={
            "examples": [{"email": "anna@example.org", "password": "a quiet workshop"}]
        },
    )

    email: str = Field(min_length=1, max_length=EMAIL_MAX)
    password: SecretStr = Field(min_length=1, max_length=PASSWORD_MAX)


@router.post("", response_model=Account, responses=responses(401, 403, 422, 429, 503))
async def sign_in(request: Request, resources: Res, body: BrowserSignIn) -> Response:
    """Sign in as a browser.

    The answer is the account, and sets a cookie that scripts cannot read. By it, requests that
    change something must come from our own pages.
    """
    if b"sec-fetch-site" in dict(request.scope["headers"]):
        require_own_page(request.scope)  # nobody signs a browser in to an account of theirs
    settings = resources.settings
    opened = await sessions.sign_in(
        resources.database,
        resources.tokens,
        resources.passwords,
        resources.limits,
        username=body.email,
        password=body.password.get_secret_value(),
        client=client_of(request),
        lives=lives(settings),
        kind=COOKIE,
    )
    found = await account.me(resources.database, opened.family.user_id)
    answer = json_response(found.model_dump(), headers=UNSEEN)
    seconds = settings.session_days * 24 * 3600
    _set_cookie(request, answer, f"{opened.family.id.hex}.{opened.secret}", seconds)
    return answer


@router.delete("", status_code=204, responses=responses(401, 403))
async def sign_out(request: Request, resources: Res, user: Person) -> Response:
    """Sign out as a browser.

    The session ends and the cookie goes.
    """
    await sessions.sign_out(resources.database, partial(session_ended, resources), user)
    answer = Response(status_code=204)
    _set_cookie(request, answer, "", 0)
    return answer


def _set_cookie(request: Request, answer: Response, value: str, seconds: int) -> None:
    name = cookie_name(request.scope)
    answer.set_cookie(
        name,
        value,
        max_age=seconds,
        path="/",
        secure=name == SECURE_COOKIE,
        httponly=True,
        samesite="strict",
    )
