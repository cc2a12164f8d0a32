"""The server around the servicers: health, reflection, limits, deadlines, drain."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from atelier.books.servicer import SERVICE
from atelier.observe.health import PortTaken
from atelier.roles import grpc as role
from atelier.rpc.server import OPTIONS, RECEIVE_BYTES, STREAMS
from tests.books.support import sign_in
from tests.rpc.support import Books, channel_to, refused, serving
from tests.waiting import PATIENCE_SECONDS, eventually, patience

if TYPE_CHECKING:
    from atelier.settings import Settings

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def healthy(channel: grpc.aio.Channel, service: str) -> int:
    """The health status once it has been checked."""
    stub = health_pb2_grpc.HealthStub(channel)
    async with patience():
        async for answer in stub.Watch(health_pb2.HealthCheckRequest(service=service)):
            if answer.status in (SERVING, NOT_SERVING):
                return int(answer.status)
    raise AssertionError("the stream ended")


@pytest.mark.parametrize("service", ["", SERVICE])
async def test_health_needs_no_token(channel: grpc.aio.Channel, service: str) -> None:
    """The server and the service are SERVING; an unknown one is NOT_FOUND."""
    assert await healthy(channel, service) == SERVING
    with refused(StatusCode.NOT_FOUND):
        await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(service="nothing")
        )


async def test_without_a_database_health_says_so(settings: Settings) -> None:
    """NOT_SERVING, and calls are UNAVAILABLE with a pause to wait, not INTERNAL."""
    broken = settings.model_copy(
        update={"database_url": type(settings.secret)("postgresql://x@127.0.0.1:1/none")}
    )
    async with serving(broken) as port, channel_to(port) as channel:
        assert await healthy(channel, "") == NOT_SERVING
        token = await sign_in(settings.database_url.get_secret_value())
        with refused(StatusCode.UNAVAILABLE):
            await Books(channel, token).get(1)


async def test_reflection_shows_the_service_without_a_token(
    settings: Settings, channel: grpc.aio.Channel
) -> None:
    """A tool without the .proto file finds the service, its methods and messages."""

    def look() -> tuple[list[str], list[str]]:
        with grpc.insecure_channel(f"127.0.0.1:{settings.grpc_port}") as plain:
            database = ProtoReflectionDescriptorDatabase(plain)
            service = DescriptorPool(database).FindServiceByName(SERVICE)
            return sorted(database.get_services()), [method.name for method in service.methods]

    services, methods = await asyncio.to_thread(look)
    assert services == [
        "atelier.books.v1.BookService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    ]
    assert methods == ["GetBook", "ListBooks", "WatchBooks"]


async def test_a_message_above_the_limit_is_refused(books: Books) -> None:
    """RESOURCE_EXHAUSTED, before it is read to the end."""
    with refused(StatusCode.RESOURCE_EXHAUSTED):
        await books.page(author="x" * (RECEIVE_BYTES + 1))


async def test_metadata_above_the_limit_is_refused(channel: grpc.aio.Channel) -> None:
    """So is a header that no token of ours needs."""
    with refused(StatusCode.RESOURCE_EXHAUSTED):
        await Books(channel, "Bearer " + "x" * 40_000).page()


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS_FRAME = b"\0\0\0\4\0\0\0\0\0"  # RFC 9113, 6.5: an empty one


async def connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that speaks no gRPC, once the role listens."""

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return None

    return await eventually(connect)


@pytest.mark.parametrize(
    "begun", [b"", PREFACE[:9], PREFACE + SETTINGS_FRAME], ids=["silent", "half", "no call"]
)
async def test_a_connection_without_a_call_is_closed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    """So is one on which nothing comes that is HTTP/2."""
    for limit in ("grpc.server_handshake_timeout_ms", "grpc.max_connection_idle_ms"):
        assert limit in OPTIONS
        monkeypatch.setitem(OPTIONS, limit, 200)
    async with serving(settings) as port:
        reader, writer = await connected(port)
        writer.write(begun)
        async with patience():
            await reader.read()
        writer.close()


async def test_a_connection_of_many_calls_is_bounded(settings: Settings) -> None:
    """The server says how many calls one connection may have at once."""
    announced = b"\0\3" + STREAMS.to_bytes(4, "big")  # SETTINGS_MAX_CONCURRENT_STREAMS
    async with serving(settings) as port:
        reader, writer = await connected(port)
        async with patience():
            assert announced in await reader.read(64)
        writer.close()


async def test_connections_leave_files_for_the_rest(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One too many is closed, and those that there are go on; there is room as one has ended."""
    monkeypatch.setattr(role, "most_connections", lambda: 1)
    async with serving(settings) as port:
        reader, first = await connected(port)
        assert await reader.read(1)
        second, writer = await connected(port)
        async with patience():
            assert await second.read() == b""
        writer.close()
        first.close()
        async with channel_to(port) as channel:
            assert await healthy(channel, "") == SERVING


async def test_a_deadline_ends_the_call_here_too(books: Books) -> None:
    """DEADLINE_EXCEEDED for the client, and the server lets go of the stream."""
    with refused(StatusCode.DEADLINE_EXCEEDED):
        await books.get(1, timeout=0)
    stream = books.watch(0, timeout=0.5)
    with refused(StatusCode.DEADLINE_EXCEEDED):
        while True:
            await stream.read()
    await eventually(
        lambda: "WatchBooks" not in repr([*map(asyncio.Task.get_coro, asyncio.all_tasks())])
    )


async def test_a_taken_port_is_an_error_of_use(
    settings: Settings, channel: grpc.aio.Channel
) -> None:
    """One process alone does not share its port unless the settings say so."""
    with pytest.raises(
        PortTaken, match=f"Port {settings.grpc_port} of .* choose another ATELIER_GRPC_PORT"
    ):
        await role.run(settings, asyncio.Event())


async def test_a_stopped_server_finishes_calls_and_ends_streams(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On stop a watch is UNAVAILABLE at once, and the role is gone before the grace has passed."""
    monkeypatch.setattr(role, "DRAIN_SECONDS", 10 * PATIENCE_SECONDS)
    stop = asyncio.Event()
    running = asyncio.create_task(role.run(settings, stop))
    async with channel_to(settings.grpc_port) as channel:
        stream = Books(channel, await sign_in(database_url)).watch(0)
        await stream.read()
        stop.set()
        with refused(StatusCode.UNAVAILABLE):
            while True:
                await stream.read()
        async with patience():
            await running
