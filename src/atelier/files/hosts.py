"""The check of the header `Host` where Django answers alone; the API before it has its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from django.http import HttpRequest

from atelier.files import django_setup, problems
from atelier.files.authentication import PRINCIPAL
from atelier.wire.hosts import ANY, Hosts


def middleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Refuse names that `allowed_hosts` does not have.

    Without that setting any is taken: only the server around Django knows where it listens.
    """

    def checked(request: HttpRequest) -> Any:
        if PRINCIPAL not in request.META:  # else the API has judged it
            names = django_setup.context().settings.allowed_hosts
            host = request.META.get("HTTP_HOST")
            if host is not None and not _hosts(names).accepts(host.encode("latin-1", "replace")):
                return problems.from_status(421)
        return get_response(request)

    return checked


@lru_cache(1)
def _hosts(names: tuple[str, ...]) -> Hosts:
    return Hosts(names or (ANY,), "")
