"""Errors as problem+json (RFC 9457): the table from kinds to status codes, and the documents.

Knows no framework; `atelier.http` and `atelier.files` make responses of them. Slugs are in
`atelier.problem_types`.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from atelier import errors
from atelier.errors import AtelierError, Invalid
from atelier.problem_types import BASE, PROBLEM_TYPES
from atelier.wire.complaints import listed

MEDIA_TYPE = "application/problem+json"
UNTYPED = "about:blank"  # RFC 9457, 4.2.1: it means no more than the status
CHALLENGE = 'Bearer realm="atelier"'
RETRY_SECONDS = 2  # suggested when a dependency is down and nothing better is known
STATUSES: dict[type[AtelierError], int] = {
    errors.Malformed: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.OutOfRange: 410,
    errors.PreconditionFailed: 412,
    errors.TooLarge: 413,
    errors.Unsupported: 415,
    errors.Invalid: 422,
    errors.TooManyRequests: 429,
    errors.Unavailable: 503,
}
KINDS = {status: kind for kind, status in STATUSES.items()}
# Statuses that no use case raises: those of the protocol, the framework, paths, ranges, and our
# own faults.
OTHERS = {
    405: "method-not-allowed",
    406: "not-acceptable",
    408: "request-timeout",
    416: "range-not-satisfiable",
    421: "unknown-host",
    431: "headers-too-large",
    500: "internal-error",
}

log = logging.getLogger(__name__)


class Problem(NamedTuple):
    """An error response: its status, the members of its document, and its further headers."""

    status: int
    document: dict[str, Any]
    headers: dict[str, str]


def problem(
    status: int,
    slug: str,
    title: str,
    detail: str = "",
    *,
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> Problem:
    """Make a problem with extension `members`. Its type leads to a page, or is `about:blank`."""
    type_ = BASE + slug if slug in PROBLEM_TYPES else UNTYPED
    document: dict[str, Any] = {"type": type_, "title": title, "status": status}
    if detail:
        document["detail"] = detail
    return Problem(status, document | members, dict(headers or {}))


def status_of(error: AtelierError) -> int:
    """Return the status of an error's kind; 500 for errors that no request causes."""
    return next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), 500)


def from_error(error: AtelierError) -> Problem:
    """Make the problem of an error that a use case raised."""
    status = status_of(error)
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = CHALLENGE
    detail, errors = listed(error) if isinstance(error, Invalid) else (error.detail, [])
    members = {**error.members, "errors": errors} if errors else error.members
    return problem(status, error.slug, error.title, detail, headers=headers, **members)


def from_status(
    status: int, detail: str = "", headers: Mapping[str, str] | None = None
) -> Problem:
    """Make the problem of a bare status."""
    phrase = HTTPStatus(status).phrase
    kind = KINDS.get(status)
    slug = kind.slug if kind else OTHERS.get(status, "")
    title = PROBLEM_TYPES[slug].title if slug else phrase
    return problem(status, slug, title, "" if detail == phrase else detail, headers=headers)


def unexpected(error: BaseException | None) -> Problem:
    """Make the problem of any other exception.

    Its traceback goes to the log, under the id that the client gets.
    """
    error_id = secrets.token_hex(8)
    log.error("unhandled exception, error_id=%s", error_id, exc_info=error)
    slug = OTHERS[500]
    title, detail = PROBLEM_TYPES[slug].title, "The log says more under this error_id."
    return problem(500, slug, title, detail, error_id=error_id)
