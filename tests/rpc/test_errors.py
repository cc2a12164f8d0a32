"""Every kind of error has its code and details; an unexpected one only has an id."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import asyncpg
import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from grpc_status.rpc_status import to_status

from atelier import errors
from atelier.errors import AtelierError
from atelier.rpc.errors import status_of

if TYPE_CHECKING:
    from google.rpc.status_pb2 import Status

Code = grpc.StatusCode


def code_of(status: Status) -> grpc.StatusCode:
    """The code as grpc names it."""
    code: grpc.StatusCode = to_status(status).code
    return code


def unpacked(error: Exception, kind: type[Any]) -> Any:
    """The one detail of this type."""
    (packed,) = [detail for detail in status_of(error).details if detail.Is(kind.DESCRIPTOR)]
    message = kind()
    packed.Unpack(message)
    return message


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.Malformed, Code.INVALID_ARGUMENT),
        (errors.Unauthenticated, Code.UNAUTHENTICATED),
        (errors.Forbidden, Code.PERMISSION_DENIED),
        (errors.NotFound, Code.NOT_FOUND),
        (errors.Conflict, Code.FAILED_PRECONDITION),
        (errors.PreconditionFailed, Code.ABORTED),
        (errors.TooLarge, Code.RESOURCE_EXHAUSTED),
        (errors.Unsupported, Code.INVALID_ARGUMENT),
        (errors.Invalid, Code.INVALID_ARGUMENT),
        (errors.TooManyRequests, Code.RESOURCE_EXHAUSTED),
        (errors.Unavailable, Code.UNAVAILABLE),
        (errors.OutOfRange, Code.OUT_OF_RANGE),
    ],
)
def test_every_kind_has_its_code_and_reason(
    kind: type[AtelierError], code: grpc.StatusCode
) -> None:
    """The code, a message for people and the slug for programs."""
    assert code_of(status_of(kind("why"))) is code
    assert status_of(kind("why")).message == "why"
    assert status_of(kind()).message == kind().title
    info = unpacked(kind("why"), ErrorInfo)
    assert (info.domain, info.reason) == ("atelier", kind.slug.upper().replace("-", "_"))


def test_no_kind_is_forgotten() -> None:
    """Each kind of error that a use case can raise has a code."""
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, AtelierError)
    ]
    assert [
        kind
        for kind in kinds
        if kind is not AtelierError and code_of(status_of(kind())) is Code.INTERNAL
    ] == []


def test_fields_and_pauses_are_told() -> None:
    """BadRequest names the fields, RetryInfo the pause."""
    bad = errors.Invalid(errors=[{"loc": ["book", "title", 0], "msg": "too long"}])
    (violation,) = unpacked(bad, BadRequest).field_violations
    assert (violation.field, violation.description) == ("book.title.0", "too long")
    assert unpacked(errors.Unavailable(retry_after=3), RetryInfo).retry_delay.seconds == 3


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConnectionRefusedError(), Code.UNAVAILABLE),
        (TimeoutError(), Code.UNAVAILABLE),
        (asyncpg.InterfaceError("closed"), Code.UNAVAILABLE),
        (asyncpg.InternalClientError("cannot switch to state 15"), Code.UNAVAILABLE),
        (asyncpg.CannotConnectNowError("starting"), Code.UNAVAILABLE),
        (asyncpg.TooManyConnectionsError("full"), Code.UNAVAILABLE),
        (asyncpg.CharacterNotInRepertoireError("nul"), Code.INVALID_ARGUMENT),
    ],
)
def test_what_drivers_raise_is_understood(error: Exception, code: grpc.StatusCode) -> None:
    """A database that is away is UNAVAILABLE, a text that it cannot hold INVALID_ARGUMENT.

    No driver is quoted.
    """
    assert code_of(status_of(error)) is code
    assert str(error) not in status_of(error).message or not str(error)


def test_the_unexpected_leaves_only_an_id(caplog: pytest.LogCaptureFixture) -> None:
    """INTERNAL carries the id of the traceback in the log, and nothing of the error itself."""
    with caplog.at_level(logging.ERROR):
        status = status_of(KeyError("password=hunter2"))
    assert code_of(status) is Code.INTERNAL
    assert b"hunter2" not in status.SerializeToString()
    message = RequestInfo()
    assert [
        detail.Unpack(message) for detail in status.details if detail.Is(RequestInfo.DESCRIPTOR)
    ] == [True]
    assert message.request_id in caplog.text
    assert "hunter2" in caplog.text
