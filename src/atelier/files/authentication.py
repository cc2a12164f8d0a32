"""Atelier's bearer tokens, for DRF: verified by `atelier.auth`, or already by the API that embeds this slice."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from atelier.auth import Principal
from atelier.files import django_setup
from atelier.problems import CHALLENGE

T = TypeVar("T")

PRINCIPAL = "atelier.principal"  # in the WSGI environment; no header can make such a key


class BearerAuthentication(BaseAuthentication):
    """`request.user` is the principal. Raises Unauthenticated."""

    def authenticate(self, request: Request) -> tuple[Principal, None]:
        """The principal whose token the request carries."""
        known = request.META.get(PRINCIPAL)
        if known is not None:
            return known, None
        authorization = request.META.get("HTTP_AUTHORIZATION")
        return at_once(django_setup.context().authenticator.authenticate(authorization)), None

    def authenticate_header(self, request: Request) -> str:
        """The challenge that goes with a 401."""
        return CHALLENGE


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never has to wait."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise RuntimeError("it had to wait")
