"""Calls need a valid token; streams end with theirs; health and reflection are open."""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import grpc
import pytest
from grpc import StatusCode

from atelier.auth import Authenticator, Right, Tokens
from atelier.rpc import interceptor
from atelier.rpc.interceptor import Interceptor, caller
from tests.books.support import SECRET, sign_in
from tests.logged import logging_to
from tests.lookups import Everybody
from tests.rpc.support import Books, details, refused
from tests.waiting import eventually, patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path


FORGED = Tokens("another secret of thirty-two bytes or more").issue(1, str(uuid.uuid4()))
GONE = Tokens(SECRET).issue(2**62, str(uuid.uuid4()))
EXPIRED = Tokens(SECRET, now=lambda: 1e9).issue(1, str(uuid.uuid4()))


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "Bearer",
        "Bearer x",
        "Basic YTpi",
        f"Bearer {FORGED}",
        f"Bearer {GONE}",
        f"Bearer {EXPIRED}",
    ],
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


async def test_the_scheme_may_be_written_in_any_case(
    channel: grpc.aio.Channel, database_url: str
) -> None:
    """`bearer` is `Bearer`."""
    authorization = (await sign_in(database_url)).replace("Bearer", "bEARER")
    await Books(channel, authorization).page()


async def test_a_stream_ends_when_its_session_does(
    books: Books, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watch that was opened with a good token is closed soon after the session was revoked."""
    monkeypatch.setattr(interceptor, "AGAIN_SECONDS", 0.05)
    monkeypatch.setattr("atelier.auth.authenticator.REMEMBER_SECONDS", 0)
    stream = books.watch(0)
    await stream.read()
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE refresh_families SET revoked_at = now()")
    await connection.close()
    with refused(StatusCode.UNAUTHENTICATED):
        async with patience():
            while True:
                await stream.read()


async def test_a_stream_ends_when_its_token_expires(
    channel: grpc.aio.Channel, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token of two seconds does not hold a watch open."""
    monkeypatch.setattr(interceptor, "AGAIN_SECONDS", 0.1)
    stream = Books(channel, await sign_in(database_url, access_seconds=2)).watch(0)
    with refused(StatusCode.UNAUTHENTICATED):
        async with patience():
            while True:
                await stream.read()


RIGHTS = dict.fromkeys(
    [f"/test/{name}" for name in ("unary", "collect", "echo", "watch", "fail", "yield")],
    Right.BOOKS_READ,
)
CHANGES = dict.fromkeys(RIGHTS, Right.BOOKS_WRITE)


class Handlers(grpc.GenericRpcHandler):  # type: ignore[misc] # the stubs have no base for it
    """A service with a method of every arity, closed to unknown callers."""

    def service(self, details_: grpc.HandlerCallDetails) -> Any:
        """The handler of `/test/...`."""
        return {
            "/test/unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "/test/collect": grpc.stream_unary_rpc_method_handler(self.collect),
            "/test/echo": grpc.stream_stream_rpc_method_handler(self.echo),
            "/test/watch": grpc.unary_stream_rpc_method_handler(self.watch),
            "/test/fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "/test/yield": grpc.unary_stream_rpc_method_handler(self.yielding),
        }.get(details_.method)

    async def unary(self, request: bytes, _: Any) -> bytes:
        """The caller and the request."""
        return b"%d %b" % (caller.get().user_id, request)

    async def collect(self, requests: AsyncIterator[bytes], _: Any) -> bytes:
        """All at once."""
        return b"".join([request async for request in requests])

    async def echo(self, requests: AsyncIterator[bytes], context: Any) -> None:
        """One by one."""
        async for request in requests:
            await context.write(request)

    async def watch(self, request: bytes, context: Any) -> None:
        """Once, and then silence."""
        await context.write(request)
        await asyncio.Event().wait()

    async def fail(self, _request: bytes, _: Any) -> bytes:
        """A mistake of ours."""
        raise KeyError("password=hunter2")

    async def yielding(self, request: bytes, _: Any) -> AsyncIterator[bytes]:
        """In the form that is not taken."""
        yield request


@asynccontextmanager
async def serving_at(
    host: str,
    at: str | None = None,
    rights: Mapping[str, Right] = RIGHTS,
    reserved: frozenset[Right] = frozenset(),
) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a server of plain bytes behind the interceptor; `at` is where it is reached."""
    authenticator = Authenticator(Tokens(SECRET), Everybody(), reserved=reserved)
    interceptor_ = Interceptor(authenticator, rights=rights)
    server = grpc.aio.server(interceptors=(interceptor_,), handlers=(Handlers(),))
    port = server.add_insecure_port(f"{host}:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"{at or host}:{port}") as channel:
        yield channel
    await server.stop(None)


@pytest.fixture
async def plain() -> AsyncIterator[grpc.aio.Channel]:
    """A channel to such a server."""
    async with serving_at("127.0.0.1") as channel:
        yield channel


TOKENS = Tokens(SECRET, access_seconds=36_000)  # a run of all tests may take longer than 900 s
METADATA = (("authorization", f"Bearer {TOKENS.issue(7, 'session')}"),)


async def test_methods_of_every_arity_know_their_caller(plain: grpc.aio.Channel) -> None:
    """Unary and streaming, in and out, authentication is the same, and `caller` is the user."""
    for _ in range(2):
        assert await plain.unary_unary("/test/unary")(b"x", metadata=METADATA) == b"7 x"
        assert (
            await plain.stream_unary("/test/collect")(iter([b"a", b"b"]), metadata=METADATA)
            == b"ab"
        )
        echo = plain.stream_stream("/test/echo")(iter([b"a", b"b"]), metadata=METADATA)
        assert [answer async for answer in echo] == [b"a", b"b"]
    for call in (
        plain.unary_unary("/test/unary")(b"x"),
        plain.stream_unary("/test/collect")(iter([b"a"])),
    ):
        with refused(StatusCode.UNAUTHENTICATED):
            await call


async def test_a_mistake_of_ours_leaves_only_an_id(
    plain: grpc.aio.Channel, caplog: pytest.LogCaptureFixture
) -> None:
    """INTERNAL with an id that is in the log, and not a word of the error."""
    with refused(StatusCode.INTERNAL) as errors:
        await plain.unary_unary("/test/fail")(b"x", metadata=METADATA)
    assert "hunter2" not in repr(errors[0])
    assert details(errors[0])["RequestInfo"].request_id in caplog.text


def access_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines of the access log, without their times."""
    found = [record.getMessage() for record in caplog.records if record.name == "atelier.access"]
    assert all(re.search(r" \d+\.\d ms$", line) for line in found)
    return [line.rsplit(" ", 2)[0] for line in found]


async def test_every_call_is_a_line_of_the_access_log(
    plain: grpc.aio.Channel, caplog: pytest.LogCaptureFixture
) -> None:
    """Address, user, method, code and time, as HTTP's, for every arity and every outcome."""
    caplog.set_level(logging.INFO, "atelier.access")
    await plain.unary_unary("/test/unary")(b"x", metadata=METADATA)
    await plain.stream_unary("/test/collect")(iter([b"a"]), metadata=METADATA)
    echo = plain.stream_stream("/test/echo")(iter([b"a"]), metadata=METADATA)
    assert [answer async for answer in echo] == [b"a"]
    failing = {"/test/fail": METADATA, "/test/unary": (), "/test/nothing": METADATA}
    for method, metadata in failing.items():
        with pytest.raises(grpc.aio.AioRpcError):
            await plain.unary_unary(method)(b"x", metadata=metadata)
    assert access_lines(caplog) == [
        "127.0.0.1 7 gRPC /test/unary OK",
        "127.0.0.1 7 gRPC /test/collect OK",
        "127.0.0.1 7 gRPC /test/echo OK",
        "127.0.0.1 7 gRPC /test/fail INTERNAL",
        "127.0.0.1 - gRPC /test/unary UNAUTHENTICATED",
        "- - gRPC /test/nothing UNIMPLEMENTED",
    ]
    assert METADATA[0][1].removeprefix("Bearer ") not in caplog.text


async def test_a_stream_that_its_client_leaves_is_logged_as_cancelled(
    plain: grpc.aio.Channel, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, when it ends."""
    caplog.set_level(logging.INFO, "atelier.access")
    watch = plain.unary_stream("/test/watch")(b"a", metadata=METADATA)
    assert await watch.read() == b"a"
    assert access_lines(caplog) == []
    watch.cancel()
    await eventually(lambda: access_lines(caplog))
    assert access_lines(caplog) == ["127.0.0.1 7 gRPC /test/watch CANCELLED"]


async def test_on_every_address_an_ipv4_client_has_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A server that listens on `::` logs the address of a client that came by IPv4."""
    caplog.set_level(logging.INFO, "atelier.access")
    async with serving_at("[::]", "127.0.0.1") as channel:
        await channel.unary_unary("/test/unary")(b"x", metadata=METADATA)
    assert access_lines(caplog) == ["127.0.0.1 7 gRPC /test/unary OK"]


async def test_log_lines_of_a_call_carry_its_id(plain: grpc.aio.Channel, tmp_path: Path) -> None:
    """The client's `x-request-id` where it is a proper one, else one of the server's own."""
    with logging_to(tmp_path) as setup:
        written = setup()
        for given in ("order-7", "no id", None):
            metadata = METADATA if given is None else (*METADATA, ("x-request-id", given))
            with refused(StatusCode.INTERNAL):
                await plain.unary_unary("/test/fail")(b"x", metadata=metadata)
    starts = [line.split(" ", 4) for line in written.file.splitlines() if line.startswith("20")]
    assert [name for _, _, name, *_ in starts] == ["atelier.rpc.errors", "atelier.access"] * 3
    ids = [request for *_, request, _ in starts]
    assert ids[0] == ids[1] == "[order-7]"
    assert ids[2] == ids[3] != ids[4] == ids[5]
    assert all(re.fullmatch(r"\[[0-9a-f]{8}-[0-9a-f]+\]", one) for one in ids[2:])


async def test_ipv6_addresses_are_logged_in_full(caplog: pytest.LogCaptureFixture) -> None:
    """Without the brackets and the port that gRPC puts around them."""
    caplog.set_level(logging.INFO, "atelier.access")
    async with serving_at("[::1]") as channel:
        await channel.unary_unary("/test/unary")(b"x", metadata=METADATA)
    assert access_lines(caplog) == ["::1 7 gRPC /test/unary OK"]


async def test_unknown_methods_are_unimplemented(plain: grpc.aio.Channel) -> None:
    """An unknown method is UNIMPLEMENTED."""
    with refused(StatusCode.UNIMPLEMENTED):
        await plain.unary_unary("/test/nothing")(b"x", metadata=METADATA)


async def test_what_is_left_to_administrators_is_denied_to_all_others() -> None:
    """Unary and streaming methods alike say so with PERMISSION_DENIED and a sentence."""
    withheld = frozenset({Right.BOOKS_WRITE})
    async with serving_at("127.0.0.1", rights=CHANGES, reserved=withheld) as channel:
        for call in (
            channel.unary_unary("/test/unary")(b"x", metadata=METADATA),
            channel.unary_stream("/test/watch")(b"x", metadata=METADATA).read(),
        ):
            with refused(StatusCode.PERMISSION_DENIED) as errors:
                await call
            assert "only administrators" in str(errors[0].details())
            assert details(errors[0])["ErrorInfo"].reason == "NOT_ALLOWED"
    async with serving_at("127.0.0.1", reserved=withheld) as channel:
        assert await channel.unary_unary("/test/unary")(b"x", metadata=METADATA) == b"7 x"
