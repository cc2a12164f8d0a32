"""Nobody locks others out with calls that stay open: neither without a token nor with one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

from atelier.errors import TooManyRequests
from atelier.observe.metrics import REGISTRY
from atelier.rpc import interceptor, server
from atelier.rpc.budgets import OPEN_STREAMS_OF_CLIENT
from atelier.rpc.health import Health
from atelier.wire.places import Places
from tests.books.support import sign_in
from tests.rpc.raw import RawConnection
from tests.rpc.support import Books, channel_to, details, refused, serving
from tests.waiting import eventually, patience

if TYPE_CHECKING:
    from atelier.settings import Settings

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
REQUEST = health_pb2.HealthCheckRequest(service="")


def turned_away(budget: str) -> float:
    """Calls refused so far."""
    return REGISTRY.get_sample_value("atelier_grpc_refused_total", {"budget": budget}) or 0


async def outcome(stream: Any) -> Any:
    """The first answer of a stream, or the error in its place."""
    try:
        return await stream.read()
    except grpc.aio.AioRpcError as error:
        return error


async def test_watches_without_a_token_lock_nobody_out(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 health streams: some are open, the rest refused, and other calls are answered."""
    monkeypatch.setattr(server, "CONCURRENT_CALLS", 100)
    token, before = await sign_in(database_url), turned_away("open_streams")
    async with serving(settings) as port, channel_to(port) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        async with patience():
            streams = [stub.Watch(REQUEST) for _ in range(200)]
            first = await asyncio.gather(*map(outcome, streams))
        errors = [one for one in first if isinstance(one, grpc.aio.AioRpcError)]
        assert len(errors) == 200 - OPEN_STREAMS_OF_CLIENT
        assert {error.code() for error in errors} == {StatusCode.RESOURCE_EXHAUSTED}
        assert details(errors[-1])["ErrorInfo"].reason == "TOO_MANY_REQUESTS"
        assert turned_away("open_streams") - before == len(errors)
        with refused(StatusCode.NOT_FOUND):
            await Books(channel, token).get(1)
        assert (await stub.Check(REQUEST)).status == SERVING


async def test_calls_without_a_message_end(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that never says what it wants has a place for a moment, and none without a token."""
    monkeypatch.setattr(server, "CONCURRENT_CALLS", 40)
    monkeypatch.setattr(interceptor, "MESSAGE_SECONDS", 0.2)
    token = await sign_in(database_url)
    async with serving(settings) as port, channel_to(port) as channel:
        raw = await RawConnection.open(port)
        for path in ("/atelier.books.v1.BookService/GetBook", "/grpc.health.v1.Health/Check"):
            for _ in range(30):
                raw.call(path)
        for _ in range(10):
            raw.call("/atelier.books.v1.BookService/WatchBooks", authorization=token)
        async with patience():
            await raw.ended(70)
        with refused(StatusCode.NOT_FOUND):
            await Books(channel, token).get(1)
        raw.close()


async def test_a_watcher_that_does_not_read_delays_nobody() -> None:
    """States are set and told, however little one client takes of its answer."""
    health, plain = Health(), grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(health, plain)
    port = plain.add_insecure_port("127.0.0.1:0")
    await plain.start()
    raw = await RawConnection.open(port, window=0)
    raw.call("/grpc.health.v1.Health/Watch", message=REQUEST.SerializeToString())
    await raw.answered()
    async with channel_to(port) as channel, patience():
        stub = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(REQUEST)
        for state in (SERVING, NOT_SERVING, SERVING, NOT_SERVING):
            health.set("", state)
            assert (await watch.read()).status == state
            assert (await stub.Check(REQUEST)).status == state
    raw.close()
    await plain.stop(0)


async def test_one_user_may_watch_so_often(settings: Settings, database_url: str) -> None:
    """The stream beyond is refused, others' are not; one that ends frees its place."""
    limited = settings.model_copy(update={"watch_limit": 2})
    ada, bob = await sign_in(database_url), await sign_in(database_url)
    async with serving(limited) as port, channel_to(port) as channel:
        streams = [Books(channel, ada).watch(0) for _ in range(2)]
        for stream in (*streams, Books(channel, bob).watch(0)):
            await stream.read()
        with refused(StatusCode.RESOURCE_EXHAUSTED) as errors:
            await Books(channel, ada).watch(0).read()
        assert errors[0].details() == "At most 2 streams may be open at once for one client."
        assert details(errors[0])["RetryInfo"].retry_delay.seconds > 0
        streams[0].cancel()

        async def again() -> bool:
            return not isinstance(
                await outcome(Books(channel, ada).watch(0)), grpc.aio.AioRpcError
            )

        await eventually(again)


def test_places_are_given_back() -> None:
    """So many each, so many in all; whatever ends a call, its place is free again."""
    places = Places("calls", each=2, total=3)
    with places.place("a"), places.place("a"), places.place("b"):
        for key in ("a", "b"):
            with pytest.raises(TooManyRequests), places.place(key):
                raise AssertionError("there was no place")
    with pytest.raises(ZeroDivisionError), places.place("a"):
        raise ZeroDivisionError
    with places.place("a"), places.place("a"):
        pass
