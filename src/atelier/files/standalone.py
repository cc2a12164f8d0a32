"""What the API does before Django has a request, for a Django that answers alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from django.http import HttpRequest

from atelier.files import django_setup, problems
from atelier.files.authentication import PRINCIPAL
from atelier.observe import requester
from atelier.wire.hosts import ANY, Hosts


def middleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Refuse names that `allowed_hosts` does not have, and remember whose request is in hand.

    Without that setting any name is taken: only the server around Django knows where it listens.
    """

    def answer(request: HttpRequest) -> Any:
        if PRINCIPAL in request.META:  # the API has done both
            return get_response(request)
        names = django_setup.context().settings.allowed_hosts
        host = request.META.get("HTTP_HOST")
        if host is not None and not _hosts(names).accepts(host.encode("latin-1", "replace")):
            return problems.from_status(421)
        token = requester.begin(request.META.get("REMOTE_ADDR", ""))
        try:
            return get_response(request)
        finally:
            requester.end(token)

    return answer


@lru_cache(1)
def _hosts(names: tuple[str, ...]) -> Hosts:
    return Hosts(names or (ANY,), "")
