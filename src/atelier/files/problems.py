"""Errors as problem+json for Django and DRF: the same documents as from FastAPI."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from django.core.exceptions import SuspiciousOperation
from django.db import DataError, InterfaceError, InternalError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from rest_framework.exceptions import APIException
from rest_framework.negotiation import BaseContentNegotiation

from atelier.errors import AtelierError, Invalid
from atelier.wire import problem_pages, problems, sqlstate
from atelier.wire.problems import MEDIA_TYPE, Problem, status_of

log = logging.getLogger(__name__)


class JsonAlways(BaseContentNegotiation):
    """JSON regardless of `Accept`, as in the rest of the API."""

    def select_parser(self, request: Any, parsers: Sequence[Any]) -> Any:
        """None: no view reads a body through DRF."""
        return None

    def select_renderer(
        self, request: Any, renderers: Sequence[Any], format_suffix: Any = None
    ) -> Any:
        """The only renderer."""
        return renderers[0], renderers[0].media_type


def handle(error: Exception, context: Mapping[str, Any]) -> HttpResponse:
    """The problem document of an error; DRF calls this for each that a view raises."""
    if isinstance(error, APIException) and error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return from_status(error.status_code)
    if isinstance(error, Http404):
        return from_status(404)
    if isinstance(error, SuspiciousOperation):  # too many fields, or too long ones
        return from_error(Invalid("The form is too large."))
    known = error if isinstance(error, AtelierError) else dependency_error(error)
    if known is not None and status_of(known) != HTTPStatus.INTERNAL_SERVER_ERROR:
        if known is not error:
            log.warning("answered %s: %s", known.slug, type(error).__name__, exc_info=error)
        return from_error(known)
    return unexpected(error)


def dependency_error(error: Exception) -> AtelierError | None:
    """The error of a driver as one for the client.

    It is a value that no column can hold, or an unavailable database.
    """
    if isinstance(error, DataError):
        return sqlstate.unstorable()
    state = getattr(error.__cause__, "sqlstate", None) or ""
    # Without a code of the server an InternalError is the driver's, of a connection that ended
    # amid an exchange: "got no result from the query".
    lost = isinstance(error, InternalError) and not state
    if lost or isinstance(error, OperationalError | InterfaceError):
        return sqlstate.away()
    return sqlstate.client_error(state)


def from_error(error: AtelierError) -> HttpResponse:
    """The problem of an error that a use case raised."""
    return response(problems.from_error(error))


def from_status(
    status: int, detail: str = "", headers: Mapping[str, str] | None = None
) -> HttpResponse:
    """The problem of a bare status."""
    return response(problems.from_status(status, detail, headers))


def unexpected(error: BaseException | None) -> HttpResponse:
    """The problem of any other error."""
    return response(problems.unexpected(error))


def response(problem: Problem) -> HttpResponse:
    """The response of a problem."""
    document = json.dumps(problem.document, ensure_ascii=False, separators=(",", ":"))
    return HttpResponse(
        document, status=problem.status, content_type=MEDIA_TYPE, headers=problem.headers
    )


def page(request: HttpRequest, slug: str) -> HttpResponse:
    """The description of a problem type, when no API around the slice serves it."""
    if request.method not in {"GET", "HEAD"}:
        return from_status(405, headers={"Allow": "GET, HEAD"})
    found = problem_pages.render(slug, request.headers.get("Accept", ""))
    if found is None:
        return from_status(404)
    return HttpResponse(found.body, content_type=found.media_type, headers=found.headers)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler for unknown paths."""
    return from_status(404)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler for requests that it refuses to read."""
    return from_status(400)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler for errors outside the views."""
    return unexpected(None)
