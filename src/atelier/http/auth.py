"""The caller of a FastAPI route, as a dependency that is also the scheme in OpenAPI.

`Annotated[Principal, Depends(Needs(right))]` says what an API key must be allowed. Knows no table.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.openapi.models import OAuth2, OAuthFlowPassword, OAuthFlows
from fastapi.routing import APIRoute
from fastapi.security.base import SecurityBase

from atelier.auth import Principal, Right, is_person
from atelier.http.credentials import COOKIE, SECURE_COOKIE, authenticate

TOKEN_URL = "/api/auth/token"  # noqa: S105 - a path
REFRESH_URL = "/api/auth/refresh"
SESSION_SCHEME: dict[str, Any] = {
    "type": "apiKey",
    "in": "cookie",
    "name": COOKIE,
    "description": "The session of a browser, made by `POST /api/session`; under https its name "
    f"is `{SECURE_COOKIE}`. Requests that change something must come from our own pages.",
}


class Needs(SecurityBase):
    """The check of a route, and its scheme in OpenAPI, by which Swagger UI shows a form."""

    scheme_name = "bearer"
    model = OAuth2(
        flows=OAuthFlows(password=OAuthFlowPassword(tokenUrl=TOKEN_URL, refreshUrl=REFRESH_URL)),
        description="Sign in with e-mail address and password; the access token goes as "
        "`Authorization: Bearer ...`. "
        "It is a JWT as RFC8725 wants it and lives for minutes; a refresh token is exchanged, as "
        "JSON, for the next. An API key (`atk_...`) goes in the same place.",
    )

    def __init__(self, right: Right | None = None, *, person: bool = False) -> None:
        self.right = right
        self.person = person

    async def __call__(self, request: Request) -> Principal:
        """The principal of a request. Raises Unauthenticated, NotAllowed and CrossSite."""
        authenticator = request.app.state.resources.authenticator
        principal = await authenticate(request.scope, authenticator, self.right)
        if self.person:
            is_person(principal)
        return principal


CurrentUser = Annotated[Principal, Depends(Needs())]
Person = Annotated[Principal, Depends(Needs(person=True))]  # no API key


def parts_of(route: APIRoute) -> Iterator[Dependant]:
    """A route's own parameters, then those of everything that it depends on."""
    waiting = [route.dependant]
    while waiting:
        part = waiting.pop()
        yield part
        waiting += part.dependencies


def check_of(route: APIRoute) -> Needs | None:
    """The check of a route's credentials; None for a public one."""
    return next((part.call for part in parts_of(route) if isinstance(part.call, Needs)), None)
