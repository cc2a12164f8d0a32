"""Uploads beyond those that may be in hand are refused ahead of the framework.

Two thousand clients that upload at once would otherwise cost a millisecond each to be told so, and
everybody else waits meanwhile. Knows no route but by the paths that it is given.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

from starlette.types import Scope

from atelier.http.credentials import known
from atelier.http.problems import from_error

if TYPE_CHECKING:
    from starlette.responses import Response

    from atelier.auth import Authenticator
    from atelier.http.admission import Uploads


_SPACE = re.compile(rb"(?:space=[0-9]{1,19})?")  # any other query is for its route to judge


class _Route(NamedTuple):
    """What metrics call a route by."""

    path: str


class Refusals:
    """The answer to uploads while there is no place for one more."""

    def __init__(
        self, uploads: Uploads, authenticator: Authenticator, paths: Collection[str]
    ) -> None:
        """`paths` are those of uploads, without a slash at their end."""
        self._uploads = uploads
        self._authenticator = authenticator
        self._routes = {path: _Route(path) for path in paths}
        self._answer: Response | None = None

    def find(self, scope: Scope) -> Response | None:
        """The refusal of a request, whose route it marks; None for one that goes its way.

        So does an upload whose credential is not known yet: it may be a 401.
        """
        if not self._uploads.is_full or scope["method"] != "POST":
            return None
        route = self._routes.get(scope["path"].rstrip("/"))
        if route is None or not _SPACE.fullmatch(scope["query_string"]):
            return None
        if known(scope, self._authenticator) is None:
            return None
        scope["route"] = route
        error = self._uploads.refusal()
        if self._answer is None:
            self._answer = from_error(error)
        return self._answer
