"""Unknown query parameters are refused: a misspelt filter would match everything.

Knows routes by what they declare, and no parameter by name but one that only addresses of old
still take.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from atelier.http.auth import Needs, check_of, parts_of
from atelier.http.problems import describe
from atelier.wire.complaints import unknown_parameters

TOLERATED = (
    "user_id",
)  # at deprecated addresses, whose clients say with it who they are; the token alone counts


def guard(route: APIRoute) -> None:
    """Make a route refuse query parameters that it does not declare, once it knows who asks."""
    there = [parameter.alias for part in parts_of(route) for parameter in part.query_params]
    known = frozenset((*there, *TOLERATED) if route.deprecated else there)
    route.app = _guarded(route.app, there, known, check_of(route))
    route.responses.setdefault(422, describe(422))


def _guarded(
    app: ASGIApp, there: list[str], known: frozenset[str], check: Needs | None
) -> ASGIApp:
    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["query_string"] and (unknown := _unknown(scope["query_string"], known)):
            if check is not None:
                await check(Request(scope))
            raise unknown_parameters(unknown, there)
        await app(scope, receive, send)

    return guarded


def _unknown(query: bytes, known: frozenset[str]) -> list[str]:
    names = [name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)]
    return [name for name in dict.fromkeys(names) if name not in known]
