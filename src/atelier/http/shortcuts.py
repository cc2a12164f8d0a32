"""The hottest reads, answered ahead of the framework, whose routing costs more than they do.

A shortcut is taken only when there is nothing to decide: GET or HEAD, no query but the version of
a versioned address, an id in its plain form, a name of the usual letters, a token that was
verified lately. Everything else, errors included, goes the way of the route with the same path.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope

from atelier.auth import Right, lacks
from atelier.http.credentials import known

if TYPE_CHECKING:
    from atelier.http.resources import Resources

_PARAMETER = re.compile(r"\{\w+\}")
_ID = "([1-9][0-9]{0,17})"  # below 2**63, and written in no second way
_NAME = "([0-9a-z]{1,50})"
_VERSION = re.compile(rb"v=([0-9a-f]{1,64})")

Answer = Callable[
    ..., Awaitable[Response]
]  # of the request, the path's values, who asks, and the resources


@dataclass(frozen=True, slots=True)
class Shortcut:
    """A route's path, its own function and right; the parameters come in the order of `Answer`.

    The path has an id, and perhaps below it a name of at most 50 lower-case letters and digits. A
    `versioned` one takes the version `v` as well.
    """

    path: str
    answer: Answer
    right: Right
    versioned: bool = False


class Shortcuts:
    """All shortcuts of an application, found by one regular expression."""

    def __init__(self, shortcuts: Sequence[Shortcut], resources: Resources) -> None:
        self._resources = resources
        self._by_group: dict[
            int, tuple[int, Shortcut]
        ] = {}  # by its last group: the one before its first
        groups = 0
        for shortcut in shortcuts:
            before, groups = groups, groups + len(_PARAMETER.findall(shortcut.path))
            self._by_group[groups] = before, shortcut
        self._pattern = re.compile("|".join(_regex(shortcut.path) for shortcut in shortcuts))

    def find(self, scope: Scope, receive: Receive) -> Awaitable[Response] | None:
        """The answer to a request that takes a shortcut; None for all others.

        Marks its route in the scope.
        """
        if scope["method"] != "GET" or not self._by_group:
            return None
        version = _VERSION.fullmatch(scope["query_string"])
        if scope["query_string"] and version is None:
            return None
        match = self._pattern.fullmatch(scope["path"])
        if match is None or match.lastindex is None:
            return None
        principal = known(scope, self._resources.authenticator)
        before, shortcut = self._by_group[match.lastindex]
        if principal is None or lacks(principal, shortcut.right):
            return None
        if version is not None and not shortcut.versioned:
            return None
        more = {} if version is None else {"v": version[1].decode()}
        scope["route"] = shortcut
        id_, *names = match.groups()[before : match.lastindex]
        return shortcut.answer(
            Request(scope, receive), int(id_), *names, principal, self._resources, **more
        )


def _regex(path: str) -> str:
    first, *others = _PARAMETER.split(path)
    return re.escape(first) + "".join(
        kind + re.escape(text) for kind, text in zip((_ID, _NAME), others, strict=False)
    )
