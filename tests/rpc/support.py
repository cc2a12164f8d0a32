"""Shared by tests of gRPC: the role in this process or another, a channel, errors' details."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from atelier.proto.books.v1 import books_pb2 as pb
from atelier.proto.books.v1.books_pb2_grpc import BookServiceStub
from atelier.roles import grpc as role
from tests.waiting import patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from atelier.settings import Settings

DETAILS = {
    "google.rpc.ErrorInfo": error_details_pb2.ErrorInfo,
    "google.rpc.BadRequest": error_details_pb2.BadRequest,
    "google.rpc.RetryInfo": error_details_pb2.RetryInfo,
    "google.rpc.RequestInfo": error_details_pb2.RequestInfo,
}


@asynccontextmanager
async def channel_to(port: int, **options: Any) -> AsyncIterator[grpc.aio.Channel]:
    """A channel that is connected."""
    settings = [
        ("grpc.use_local_subchannel_pool", 1),
        *((f"grpc.{name}", value) for name, value in options.items()),
    ]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=settings) as channel:
        async with patience():
            await channel.channel_ready()
        yield channel


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[int]:
    """The role in this process; its port."""
    stop = asyncio.Event()
    running = asyncio.create_task(role.run(settings, stop))
    try:
        yield settings.grpc_port
    finally:
        stop.set()
        await running


class Books:
    """BookService as one user calls it."""

    def __init__(self, channel: grpc.aio.Channel, authorization: str | None) -> None:
        self._stub: Any = BookServiceStub(channel)
        self.call: dict[str, Any] = (
            {"metadata": (("authorization", authorization),)} if authorization else {}
        )

    async def get(self, book_id: int, **call: Any) -> pb.Book:
        """A book."""
        answer: pb.GetBookResponse = await self._stub.GetBook(
            pb.GetBookRequest(id=book_id), **self.call | call
        )
        return answer.book

    async def page(self, **request: Any) -> pb.ListBooksResponse:
        """A page."""
        answer: pb.ListBooksResponse = await self._stub.ListBooks(
            pb.ListBooksRequest(**request), **self.call
        )
        return answer

    def watch(self, after: int, **call: Any) -> Any:
        """A stream of changes."""
        return self._stub.WatchBooks(
            pb.WatchBooksRequest(after_sequence=after), **self.call | call
        )


@contextmanager
def refused(code: grpc.StatusCode) -> Iterator[list[grpc.aio.AioRpcError]]:
    """Expects a call to end with this code; the error goes to the list."""
    caught: list[grpc.aio.AioRpcError] = []
    with pytest.raises(grpc.aio.AioRpcError) as error:
        yield caught
    assert error.value.code() is code, error.value
    caught.append(error.value)


def details(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    """The rich details of an error by the short name of their types."""
    trailing = dict(error.trailing_metadata() or ())
    status = Status.FromString(trailing["grpc-status-details-bin"])
    assert (status.code, status.message) == (error.code().value[0], error.details())
    found = {}
    for packed in status.details:
        name = packed.TypeName()
        found[name.rpartition(".")[2]] = message = DETAILS[name]()
        packed.Unpack(message)
    return found
