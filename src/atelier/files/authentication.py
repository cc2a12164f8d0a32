"""Bearer tokens for DRF: verified by `atelier.auth`, or already by the API around this slice."""

from __future__ import annotations

from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from atelier.auth import Principal
from atelier.files import django_setup
from atelier.files.sync_bridge import at_once
from atelier.observe import requester
from atelier.wire.problems import CHALLENGE

PRINCIPAL = "atelier.principal"  # in the WSGI environment; no header can set this key


class BearerAuthentication(BaseAuthentication):
    """`request.user` is the principal. Raises Unauthenticated."""

    def authenticate(self, request: Request) -> tuple[Principal, None]:
        """The principal of the request."""
        known = request.META.get(PRINCIPAL)
        if known is not None:
            return known, None
        authorization = request.META.get("HTTP_AUTHORIZATION")
        principal = at_once(django_setup.context().authenticator.authenticate(authorization))
        requester.identify(principal.user_id, principal.session_id)
        return principal, None

    def authenticate_header(self, request: Request) -> str:
        """The `WWW-Authenticate` header of a 401."""
        return CHALLENGE
