"""The caller of a route: `CurrentUser`, and `authenticate` for edges without FastAPI.

Knows no table; the session check comes with the `Authenticator` of the process.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Protocol

from fastapi import Depends, Request
from fastapi.openapi.models import OAuth2, OAuthFlowPassword, OAuthFlows
from fastapi.security.base import SecurityBase

from atelier.auth import Authenticator, Principal
from atelier.observe import requester

TOKEN_URL = "/api/auth/token"  # noqa: S105 - a path
REFRESH_URL = "/api/auth/refresh"


class HasAuthenticator(Protocol):
    """The part of a process's resources that is needed here."""

    @property
    def authenticator(self) -> Authenticator:
        """Turns `Authorization` values into principals."""


def authenticate(authorization: str | None, resources: HasAuthenticator) -> Awaitable[Principal]:
    """The principal of an `Authorization` header or gRPC metadata value. Raises Unauthenticated.

    Where the cost of a coroutine matters, ask `resources.authenticator.known(authorization)`
    first.
    """
    return resources.authenticator.authenticate(authorization)


class Bearer(SecurityBase):
    """The check, and its scheme in OpenAPI, by which Swagger UI shows a password form."""

    scheme_name = "bearer"
    model = OAuth2(
        flows=OAuthFlows(password=OAuthFlowPassword(tokenUrl=TOKEN_URL, refreshUrl=REFRESH_URL)),
        description="Sign in with e-mail address and password; the access token goes as "
        "`Authorization: Bearer ...`. "
        "It is a JWT as RFC8725 wants it and lives for minutes; a refresh token is exchanged, as "
        "JSON, for the next.",
    )

    async def __call__(self, request: Request) -> Principal:
        """The principal of a request. Raises Unauthenticated."""
        principal = await authenticate(
            request.headers.get("authorization"), request.app.state.resources
        )
        requester.identify(principal.user_id, principal.session_id)
        return principal


CurrentUser = Annotated[Principal, Depends(Bearer())]
