"""Credentials for DRF: verified by `atelier.auth`, or already by the API around this slice."""

from __future__ import annotations

from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from atelier.auth import Principal, Right, in_space
from atelier.files import django_setup
from atelier.files.sync_bridge import at_once
from atelier.http.credentials import SAFE, authenticate
from atelier.wire.problems import CHALLENGE
from atelier.wire.spaces import read_space

PRINCIPAL = "atelier.principal"  # in the WSGI environment; no header can set this key
HEADERS = ("authorization", "cookie", "origin", "host", "sec-fetch-site")


def right_to(method: str) -> Right:
    """Return the right that a request of this method needs."""
    return Right.FILES_READ if method in SAFE else Right.FILES_WRITE


def space_of(principal: Principal, method: str, given: str | None) -> int:
    """Return the space that `?space=` gives, or the caller's own, where they may do this.

    Raises Invalid, NotFound and NotAllowed.
    """
    return in_space(principal, read_space(given), right_to(method))


class BearerAuthentication(BaseAuthentication):
    """`request.user` is the principal. Raises Unauthenticated, NotAllowed and CrossSite."""

    def authenticate(self, request: Request) -> tuple[Principal, None]:
        """The principal of the request."""
        known = request.META.get(PRINCIPAL)
        if known is not None:
            return known, None
        method = request.method or ""
        scope = {
            "method": method,
            "scheme": request.scheme,
            "headers": [
                (name.encode(), value.encode("latin-1"))
                for name in HEADERS
                if (value := request.headers.get(name)) is not None
            ],
        }
        authenticator = django_setup.context().authenticator
        return at_once(authenticate(scope, authenticator, right_to(method))), None

    def authenticate_header(self, request: Request) -> str:
        """The `WWW-Authenticate` header of a 401."""
        return CHALLENGE
