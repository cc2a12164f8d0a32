"""Who may call what over gRPC: every method of the descriptors by everybody."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import grpc
import psycopg
import pytest

from atelier.auth import KEY_PREFIX, Right, key_digest
from atelier.books.servicer import RIGHTS
from atelier.proto.books.v1 import books_pb2 as pb
from tests.books.support import sign_in
from tests.waiting import patience

if TYPE_CHECKING:
    from google.protobuf.descriptor import MethodDescriptor

METHODS: list[MethodDescriptor] = [
    method for service in pb.DESCRIPTOR.services_by_name.values() for method in service.methods
]
KEY = """
    INSERT INTO api_keys (name, created_by, space_id, rights, digest, created_at)
    SELECT 'k', max(id), max(id), %s, %s, now() FROM users
"""
DISABLE = "UPDATE users SET disabled_at = now()"
ALLOWED = "allowed"
# Books are one catalogue for all, so a role in a team's space is nothing here.
CALLERS = {
    "nobody": grpc.StatusCode.UNAUTHENTICATED,
    "a user": ALLOWED,
    "a disabled user": grpc.StatusCode.UNAUTHENTICATED,
    "a key with the right": ALLOWED,
    "a key without it": grpc.StatusCode.PERMISSION_DENIED,
    "a key of a disabled user": grpc.StatusCode.UNAUTHENTICATED,
}


def path(method: MethodDescriptor) -> str:
    """As requests name it."""
    return f"/{method.containing_service.full_name}/{method.name}"


def make_key(database_url: str, right: Right, *, alone: bool) -> str:
    """The `Authorization` of a key of the last user with one right, or all but that one."""
    key = f"{KEY_PREFIX}{secrets.token_urlsafe(32)}"
    rights = [right] if alone else [each for each in Right if each not in {right, Right.MANAGE}]
    with psycopg.connect(database_url) as connection:
        connection.execute(KEY, [[str(each) for each in rights], key_digest(key)])
    return f"Bearer {key}"


async def metadata(database_url: str, kind: str, right: Right) -> tuple[tuple[str, str], ...]:
    """What somebody of this kind sends along."""
    if kind == "nobody":
        return ()
    authorization = await sign_in(database_url)
    if "key" in kind:
        authorization = make_key(database_url, right, alone="without" not in kind)
    if "disabled" in kind:
        with psycopg.connect(database_url) as connection:
            connection.execute(DISABLE)
    return (("authorization", authorization),)


async def outcome(
    channel: grpc.aio.Channel, method: MethodDescriptor, sent: tuple[tuple[str, str], ...]
) -> Any:
    """The status of an empty request, unless it is one of the method's own."""
    try:
        async with patience():
            if method.server_streaming:
                call = channel.unary_stream(path(method))(b"", metadata=sent)
                await call.read()
                call.cancel()
            else:
                await channel.unary_unary(path(method))(b"", metadata=sent)
    except grpc.aio.AioRpcError as error:
        own = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}
        return ALLOWED if error.code() in own else error.code()
    return ALLOWED


def test_every_method_names_its_right() -> None:
    """None is forgotten, and none that is gone is still there."""
    assert RIGHTS.keys() == {path(method) for method in METHODS}


@pytest.mark.parametrize("kind", CALLERS)
async def test_every_method_is_for_those_with_its_right(
    channel: grpc.aio.Channel, database_url: str, kind: str
) -> None:
    """Every user may read the catalogue, and every key that has the right."""
    for method in METHODS:
        sent = await metadata(database_url, kind, RIGHTS[path(method)])
        assert await outcome(channel, method, sent) == CALLERS[kind], method.name
