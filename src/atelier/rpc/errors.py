"""Errors as gRPC statuses: the one table from kinds to codes, and the details that go with them.

Nothing of an unexpected error leaves but an id that is also in the log. Knows no slice.
"""

from __future__ import annotations

import logging
import secrets

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details
from google.rpc.status_pb2 import Status

from atelier import database, errors
from atelier.errors import AtelierError, Invalid
from atelier.wire import sqlstate
from atelier.wire.complaints import listed

DOMAIN = "atelier"
CODES: dict[type[AtelierError], grpc.StatusCode] = {
    errors.Malformed: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.Forbidden: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.Conflict: grpc.StatusCode.FAILED_PRECONDITION,
    errors.PreconditionFailed: grpc.StatusCode.ABORTED,  # AIP-154
    errors.TooLarge: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unsupported: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Invalid: grpc.StatusCode.INVALID_ARGUMENT,
    errors.TooManyRequests: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
}

log = logging.getLogger(__name__)


def status_of(error: Exception) -> Status:
    """The status, with details, of anything that a method raised."""
    known = error if isinstance(error, AtelierError) else _dependency_error(error)
    code = next((CODES[kind] for kind in type(known).__mro__ if kind in CODES), None)
    if known is None or code is None:
        return _unexpected(error)
    detail = listed(known)[0] if isinstance(known, Invalid) else known.detail
    return Status(
        code=code.value[0],
        message=detail or known.title,
        details=map(_packed, _details(known)),
    )


def invalid(field: str, message: str) -> Invalid:
    """The refusal of one field of a request."""
    return Invalid(f"{field} {message}", errors=[{"loc": [field], "msg": message}])


def _details(error: AtelierError) -> list[Message]:
    found: list[Message] = [
        details.ErrorInfo(reason=error.slug.upper().replace("-", "_"), domain=DOMAIN)
    ]
    if isinstance(error, Invalid) and error.errors:
        fields = [
            details.BadRequest.FieldViolation(
                field=".".join(map(str, e["loc"])), description=e["msg"]
            )
            for e in listed(error)[1]
        ]
        found.append(details.BadRequest(field_violations=fields))
    if error.retry_after is not None:
        info = details.RetryInfo()
        info.retry_delay.FromSeconds(error.retry_after)
        found.append(info)
    return found


def _unexpected(error: Exception) -> Status:
    error_id = secrets.token_hex(8)
    log.error("unhandled exception, error_id=%s", error_id, exc_info=error)
    return Status(
        code=grpc.StatusCode.INTERNAL.value[0],
        message="Something went wrong on our side",
        details=map(
            _packed,
            [
                details.ErrorInfo(reason="INTERNAL_ERROR", domain=DOMAIN),
                details.RequestInfo(request_id=error_id),
            ],
        ),
    )


def _dependency_error(error: Exception) -> AtelierError | None:
    """A driver's error as the client's."""
    known = database.client_error(error)
    if known is None and isinstance(error, OSError):  # what it talks to is the database alone
        known = sqlstate.away()
    if known is not None:
        log.warning("answered %s: %r", known.slug, error)
    return known


def _packed(message: Message) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed
