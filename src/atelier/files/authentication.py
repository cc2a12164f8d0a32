"""Atelier's bearer tokens, for DRF: verified by `atelier.auth`, or already by the API that embeds this slice."""

from __future__ import annotations

from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from atelier.auth import Principal
from atelier.files import django_setup
from atelier.files.sync_bridge import at_once
from atelier.problems import CHALLENGE

PRINCIPAL = "atelier.principal"  # in the WSGI environment; no header can make such a key


class BearerAuthentication(BaseAuthentication):
    """`request.user` is the principal. Raises Unauthenticated."""

    def authenticate(self, request: Request) -> tuple[Principal, None]:
        """Who asks."""
        known = request.META.get(PRINCIPAL)
        if known is not None:
            return known, None
        authorization = request.META.get("HTTP_AUTHORIZATION")
        return at_once(django_setup.context().authenticator.authenticate(authorization)), None

    def authenticate_header(self, request: Request) -> str:
        """What 401 says."""
        return CHALLENGE
