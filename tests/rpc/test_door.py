"""Nobody passes without a good token; streams end with theirs; health and reflection are open."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import asyncpg
import grpc
import pytest
from grpc import StatusCode

from atelier.auth import Authenticator, Tokens
from atelier.rpc import door
from atelier.rpc.door import Door, caller
from tests.books.support import SECRET, sign_in
from tests.rpc.support import Books, details, refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from atelier.auth import Claims

FORGED = Tokens("another secret of thirty-two bytes or more").issue(1, str(uuid.uuid4()))
GONE = Tokens(SECRET).issue(2**62, str(uuid.uuid4()))
EXPIRED = Tokens(SECRET, now=lambda: 1e9).issue(1, str(uuid.uuid4()))


@pytest.mark.parametrize(
    "authorization",
    [None, "Bearer", "Bearer x", "Basic YTpi", f"Bearer {FORGED}", f"Bearer {GONE}", f"Bearer {EXPIRED}"],
)
async def test_without_a_good_token_every_method_is_closed(
    channel: grpc.aio.Channel, authorization: str | None
) -> None:
    """Missing, malformed, forged, ended and expired tokens are UNAUTHENTICATED, with details."""
    stranger = Books(channel, authorization)
    for call in (stranger.get(1), stranger.page(), stranger.watch(0).read()):
        with refused(StatusCode.UNAUTHENTICATED) as errors:
            await call
        assert details(errors[0])["ErrorInfo"].reason == "UNAUTHENTICATED"


async def test_the_scheme_may_be_written_in_any_case(channel: grpc.aio.Channel, database_url: str) -> None:
    """`bearer` is `Bearer`."""
    authorization = (await sign_in(database_url)).replace("Bearer", "bEARER")
    await Books(channel, authorization).page()


async def test_a_stream_ends_when_its_session_does(
    books: Books, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watch that was opened with a good token is closed soon after the session was revoked."""
    monkeypatch.setattr(door, "AGAIN_SECONDS", 0.05)
    monkeypatch.setattr("atelier.auth.REMEMBER_SECONDS", 0)
    stream = books.watch(0)
    await stream.read()
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE refresh_families SET revoked_at = now()")
    await connection.close()
    with refused(StatusCode.UNAUTHENTICATED):
        async with asyncio.timeout(10):
            while True:
                await stream.read()


async def test_a_stream_ends_when_its_token_expires(
    channel: grpc.aio.Channel, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token of two seconds does not hold a watch open."""
    monkeypatch.setattr(door, "AGAIN_SECONDS", 0.1)
    stream = Books(channel, await sign_in(database_url, access_seconds=2)).watch(0)
    with refused(StatusCode.UNAUTHENTICATED):
        async with asyncio.timeout(10):
            while True:
                await stream.read()


class Handlers(grpc.GenericRpcHandler):  # type: ignore[misc] # the stubs have no base for it
    """A service of one method for every arity, closed to nobody known."""

    def service(self, details_: grpc.HandlerCallDetails) -> Any:
        """The handler of `/test/...`."""
        return {
            "/test/unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "/test/collect": grpc.stream_unary_rpc_method_handler(self.collect),
            "/test/echo": grpc.stream_stream_rpc_method_handler(self.echo),
            "/test/fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "/test/yield": grpc.unary_stream_rpc_method_handler(self.yielding),
        }.get(details_.method)

    async def unary(self, request: bytes, _: Any) -> bytes:
        """Who calls."""
        return b"%d %b" % (caller.get().user_id, request)

    async def collect(self, requests: AsyncIterator[bytes], _: Any) -> bytes:
        """All at once."""
        return b"".join([request async for request in requests])

    async def echo(self, requests: AsyncIterator[bytes], context: Any) -> None:
        """One by one."""
        async for request in requests:
            await context.write(request)

    async def fail(self, _request: bytes, _: Any) -> bytes:
        """A mistake of ours."""
        raise KeyError("password=hunter2")

    async def yielding(self, request: bytes, _: Any) -> AsyncIterator[bytes]:
        """In the form that is not taken."""
        yield request


async def alive(_: Claims) -> bool:
    """Every session stands."""
    return True


@pytest.fixture
async def plain() -> AsyncIterator[grpc.aio.Channel]:
    """A server of plain bytes behind the door."""
    server = grpc.aio.server(interceptors=(Door(Authenticator(Tokens(SECRET), alive)),), handlers=(Handlers(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


METADATA = (("authorization", f"Bearer {Tokens(SECRET).issue(7, 'session')}"),)


async def test_methods_of_every_arity_know_their_caller(plain: grpc.aio.Channel) -> None:
    """Unary and streaming, in and out, the door is the same, and `caller` says who asks."""
    for _ in range(2):
        assert await plain.unary_unary("/test/unary")(b"x", metadata=METADATA) == b"7 x"
        assert await plain.stream_unary("/test/collect")(iter([b"a", b"b"]), metadata=METADATA) == b"ab"
        echo = plain.stream_stream("/test/echo")(iter([b"a", b"b"]), metadata=METADATA)
        assert [answer async for answer in echo] == [b"a", b"b"]
    for call in (plain.unary_unary("/test/unary")(b"x"), plain.stream_unary("/test/collect")(iter([b"a"]))):
        with refused(StatusCode.UNAUTHENTICATED):
            await call


async def test_a_mistake_of_ours_leaves_only_an_id(plain: grpc.aio.Channel, caplog: pytest.LogCaptureFixture) -> None:
    """INTERNAL with an id that is in the log, and not a word of the error."""
    with refused(StatusCode.INTERNAL) as errors:
        await plain.unary_unary("/test/fail")(b"x", metadata=METADATA)
    assert "hunter2" not in repr(errors[0])
    assert details(errors[0])["RequestInfo"].request_id in caplog.text


async def test_unknown_methods_are_unimplemented(plain: grpc.aio.Channel) -> None:
    """What is not there is said not to be there."""
    with refused(StatusCode.UNIMPLEMENTED):
        await plain.unary_unary("/test/nothing")(b"x", metadata=METADATA)
