"""Errors as problem+json for FastAPI: handlers, errors of drivers, and responses in OpenAPI.

Nothing of an unexpected error leaves but an id that is also in the log. Knows no slice.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, get_args

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from atelier import database
from atelier.errors import AtelierError, Invalid, Unavailable
from atelier.http.encoding import dumps
from atelier.http.json import Ready, raw_headers
from atelier.problem_types import BASE
from atelier.wire import problems
from atelier.wire.complaints import COMPLAINTS, REFUSED, REQUIRED, complaint, unknown
from atelier.wire.problems import MEDIA_TYPE, RETRY_SECONDS, Problem, status_of

FULL = (errno.ENOSPC, errno.EDQUOT)
FULL_RETRY_SECONDS = 30  # until there may be room

log = logging.getLogger(__name__)


def response(problem: Problem) -> Response:
    """The response of a problem."""
    return Ready(
        dumps(problem.document), problem.status, raw_headers(MEDIA_TYPE.encode(), problem.headers)
    )


def from_error(error: AtelierError) -> Response:
    """The problem of an error that a use case raised."""
    return response(problems.from_error(error))


def from_status(
    status: int, detail: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    """The problem of a bare status."""
    return response(problems.from_status(status, detail, headers))


def from_validation(found: Sequence[Mapping[str, Any]], fields: Sequence[str] = ()) -> Response:
    """The problem of a request that does not fit its schema, whose body has these fields.

    What was sent is not repeated: it may be a password.
    """
    errors = [
        {
            "loc": list(e["loc"]),
            "msg": unknown(fields) if fields and _is_unknown(e) else complaint(e),
        }
        for e in found[: COMPLAINTS + 1]  # one more shows that there are more
    ]
    return from_error(Invalid(REFUSED, errors=errors))


def _is_unknown(error: Mapping[str, Any]) -> bool:
    """Whether there is no such field in the body; those of objects within it are not listed."""
    return error["type"] == "extra_forbidden" and len(error["loc"]) == len(("body", "name"))


def from_exception(error: Exception) -> Response:
    """The problem of whatever was raised where no handler of the framework is."""
    if isinstance(error, HTTPException):
        return from_status(error.status_code, error.detail, error.headers)
    if isinstance(error, AtelierError) and status_of(error) != HTTPStatus.INTERNAL_SERVER_ERROR:
        return from_error(error)
    return unexpected(error)


def unexpected(error: Exception) -> Response:
    """The problem of anything else.

    Its traceback goes to the log, under the id that the client gets.
    """
    if known := dependency_error(error):
        log.warning("answered %s: %s", known.slug, type(error).__name__, exc_info=error)
        return from_error(known)
    return response(problems.unexpected(error))


def dependency_error(error: Exception) -> AtelierError | None:
    """A driver's error as the client's: an unstorable value or an absent dependency."""
    if isinstance(
        error, RedisConnectionError | RedisTimeoutError | PoolTimeoutError | ConnectionError
    ):
        return Unavailable(
            "A service that this needs is not reachable.", retry_after=RETRY_SECONDS
        )
    if isinstance(error, OSError) and error.errno in FULL:
        return Unavailable("The disk takes no more.", retry_after=FULL_RETRY_SECONDS)
    return database.client_error(error)


def install(app: FastAPI) -> None:
    """Make `app` answer every error as a problem."""
    handlers: dict[type[Exception], Callable[[Request, Any], Awaitable[Response]]] = {
        AtelierError: _kind,
        RequestValidationError: _validation,
        HTTPException: _http,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


async def _kind(_: Request, error: AtelierError) -> Response:
    return from_exception(error)


async def _validation(request: Request, error: RequestValidationError) -> Response:
    return from_validation(error.errors(), _fields(request.scope.get("route")))


def _fields(route: object) -> list[str]:
    """The names in a route's JSON body."""
    body = getattr(route, "body_field", None)
    shape = body.field_info.annotation if body is not None else None
    models = [
        each
        for each in (shape, *get_args(shape))
        if isinstance(each, type) and issubclass(each, BaseModel)
    ]
    return [name for model in models for name in model.model_fields]


async def _http(request: Request, error: HTTPException) -> Response:
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(allowed(request))
    return from_status(error.status_code, error.detail, headers)


def allowed(request: Request) -> list[str]:
    """Every method that the request's path has, whichever route offers it."""
    methods: set[str] = set()
    for route in request.app.router.routes:
        for method in getattr(route, "methods", None) or ():
            if method not in methods and _matches(route, request, method):
                methods.add(method)
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


def _matches(route: Any, request: Request, method: str) -> bool:
    return bool(route.matches({**request.scope, "method": method})[0].value)


_SCHEMA = {"$ref": "#/components/schemas/Problem"}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route with these error statuses."""
    return {status: describe(status) for status in statuses}


def describe(status: int) -> dict[str, Any]:
    """The OpenAPI response object of an error status, with an example."""
    example = problems.from_status(status).document
    if problems.KINDS.get(status) is Invalid:
        example["errors"] = [{"loc": ["body", "title"], "msg": REQUIRED}]
    described: dict[str, Any] = {
        "description": example["title"],
        "content": {MEDIA_TYPE: {"schema": _SCHEMA, "example": example}},
    }
    if header := _HEADERS.get(status):
        described["headers"] = {header: {"schema": {"type": "string"}}}
    return described


_HEADERS = {401: "WWW-Authenticate", 405: "Allow", 429: "Retry-After", 503: "Retry-After"}

SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "type": "object",
    "description": "An error, as RFC 9457 has it.",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "examples": [BASE + "not-found"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["loc", "msg"],
                "properties": {
                    "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
                    "msg": {"type": "string"},
                },
            },
        },
        "error_id": {
            "type": "string",
            "description": "With 500: the id under which the log says more.",
        },
    },
}
