"""Errors become the same documents as in the rest of the API, without any internals."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from django.core.exceptions import TooManyFieldsSent
from django.db import (
    DataError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
)
from django.http import Http404
from rest_framework.exceptions import APIException, ParseError, UnsupportedMediaType

from atelier import errors
from atelier.errors import AtelierError
from atelier.files import problems, service


@pytest.mark.parametrize(
    ("error", "status", "slug"),
    [
        (errors.NotFound("x"), 404, "not-found"),
        (errors.Invalid("x", slug="idempotency-key-reused"), 422, "idempotency-key-reused"),
        (Http404("secret"), 404, "not-found"),
        (ParseError("secret"), 400, "malformed"),
        (UnsupportedMediaType("a/b"), 415, "unsupported"),
        (TooManyFieldsSent("secret"), 422, "invalid"),
        (DataError("secret"), 422, "invalid"),
        (OperationalError("secret"), 503, "unavailable"),
        (InterfaceError("secret"), 503, "unavailable"),
        (InternalError("secret: got no result from the query"), 503, "unavailable"),
        (IntegrityError("secret"), 500, "internal-error"),
        (AtelierError("secret"), 500, "internal-error"),
        (APIException("secret"), 500, "internal-error"),
        (ZeroDivisionError("secret"), 500, "internal-error"),
    ],
)
def test_each_error_is_a_problem(error: Exception, status: int, slug: str) -> None:
    """With its status and slug, and nothing of a driver's or framework's words."""
    answer = problems.handle(error, {})
    body = json.loads(answer.content)
    assert (answer.status_code, body["status"], body["type"]) == (
        status,
        status,
        f"/problems/{slug}",
    )
    assert answer["Content-Type"] == "application/problem+json"
    assert "secret" not in answer.content.decode()
    assert ("Retry-After" in answer) == (status == 503)


def test_unexpected_errors_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Under the id that the client gets."""
    with caplog.at_level(logging.ERROR):
        body = json.loads(problems.handle(ZeroDivisionError("why"), {}).content)
    assert body["error_id"] in caplog.text
    assert "ZeroDivisionError: why" in caplog.text


def test_handlers_of_django_itself() -> None:
    """Outside the views it is problems, too."""
    request: Any = None
    assert problems.not_found(request, Http404()).status_code == 404
    assert problems.bad_request(request, ValueError()).status_code == 400
    assert problems.server_error(request).status_code == 500


def test_a_bare_status_that_is_in_no_table_is_about_blank() -> None:
    """Its type leads nowhere, and says so."""
    assert json.loads(problems.from_status(418).content)["type"] == "about:blank"


def test_a_failure_always_says_something() -> None:
    """The kind's title where there is no detail."""
    assert service.failure(errors.Unsupported()) == (
        "unsupported",
        "This kind of content is not supported",
    )
