"""Errors as problem+json for Django and DRF: the same documents as everywhere in the house, by one small table."""

from __future__ import annotations

import json
import logging
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from django.core.exceptions import SuspiciousOperation
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404, HttpResponse
from rest_framework.exceptions import APIException
from rest_framework.negotiation import BaseContentNegotiation

from atelier import errors
from atelier.errors import AtelierError, Invalid, Unavailable
from atelier.files.authentication import CHALLENGE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.http import HttpRequest

MEDIA_TYPE = "application/problem+json"
BASE = "/problems/"
RETRY_SECONDS = 2  # suggested when the database is away
STATUSES: dict[type[AtelierError], int] = {
    errors.Malformed: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.PreconditionFailed: 412,
    errors.TooLarge: 413,
    errors.Unsupported: 415,
    errors.Invalid: 422,
    errors.TooManyRequests: 429,
    errors.Unavailable: 503,
}
KINDS = {status: kind for kind, status in STATUSES.items()}
# Statuses that no use case raises.
OTHERS = {
    405: ("method-not-allowed", "This method is not offered here"),
    416: ("range-not-satisfiable", "The range lies outside the content"),
    500: ("internal-error", "Something went wrong on our side"),
}

log = logging.getLogger(__name__)


class JsonAlways(BaseContentNegotiation):
    """JSON whatever `Accept` says, as the rest of the API has it."""

    def select_parser(self, request: Any, parsers: Sequence[Any]) -> Any:  # noqa: ANN401 - DRF's signature
        """The one that reads the body's type."""
        return next((parser for parser in parsers if request.content_type.startswith(parser.media_type)), None)

    def select_renderer(self, request: Any, renderers: Sequence[Any], format_suffix: Any = None) -> Any:  # noqa: ANN401, ARG002 - DRF's signature
        """The only one."""
        return renderers[0], renderers[0].media_type


def handle(error: Exception, context: Mapping[str, Any]) -> HttpResponse:  # noqa: ARG001 - DRF's signature
    """DRF's exception handler."""
    if isinstance(error, APIException) and error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return from_status(error.status_code)
    if isinstance(error, Http404):
        return from_status(404)
    if isinstance(error, SuspiciousOperation):  # too many fields, too long ones
        return from_error(Invalid("The form is too large."))
    known = error if isinstance(error, AtelierError) else dependency_error(error)
    if known is not None and status_of(known) != HTTPStatus.INTERNAL_SERVER_ERROR:
        if known is not error:
            log.warning("answered %s: %s", known.slug, type(error).__name__, exc_info=error)
        return from_error(known)
    return unexpected(error)


def dependency_error(error: Exception) -> AtelierError | None:
    """What a driver's error means for the client: a value that no column holds, or a database that is away."""
    if isinstance(error, DataError):
        return Invalid("A value cannot be stored: a NUL character, or a number out of range.")
    if isinstance(error, OperationalError | InterfaceError):
        return Unavailable("The database is not reachable.", retry_after=RETRY_SECONDS)
    return None


def status_of(error: AtelierError) -> int:
    """The status of an error's kind."""
    return next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), 500)


def from_error(error: AtelierError) -> HttpResponse:
    """The problem of an error that a use case raised."""
    status = status_of(error)
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = CHALLENGE
    members = {"errors": error.errors} if isinstance(error, Invalid) and error.errors else {}
    return problem(status, error.slug, error.title, error.detail, headers, **members)


def from_status(status: int, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """The problem of a bare status."""
    if kind := KINDS.get(status):
        return problem(status, kind.slug, kind().title, headers=headers)
    phrase = HTTPStatus(status).phrase
    slug, title = OTHERS.get(status, (phrase.lower().replace(" ", "-"), phrase))
    return problem(status, slug, title, headers=headers)


def unexpected(error: BaseException | None) -> HttpResponse:
    """The problem of anything else. Its traceback goes to the log, under the id that the client gets."""
    error_id = secrets.token_hex(8)
    log.error("unhandled exception, error_id=%s", error_id, exc_info=error)
    slug, title = OTHERS[500]
    return problem(500, slug, title, "The log says more under this error_id.", error_id=error_id)


def problem(
    status: int,
    slug: str,
    title: str,
    detail: str = "",
    headers: Mapping[str, str] | None = None,
    **members: Any,  # noqa: ANN401 - extension members are any JSON
) -> HttpResponse:
    """A problem response."""
    body: dict[str, Any] = {"type": BASE + slug, "title": title, "status": status}
    if detail:
        body["detail"] = detail
    document = json.dumps(body | members, ensure_ascii=False, separators=(",", ":"))
    return HttpResponse(document, status=status, content_type=MEDIA_TYPE, headers=dict(headers or {}))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001 - Django's signature
    """Django's handler for paths that nobody has."""
    return from_status(404)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001 - Django's signature
    """Django's handler for requests that it will not read."""
    return from_status(400)


def server_error(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - Django's signature
    """Django's handler for what fails outside the views."""
    return unexpected(None)
