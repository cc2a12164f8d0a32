"""The gRPC servers that `benchmarks/books.py` compares: an echo, and a typical servicer.

The latter is grpc.aio on uvloop with asyncpg's pool, once without and once with a token that is
verified at each call. Arguments: echo|asyncpg|asyncpg-token PORT DATABASE_URL SECRET.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import grpc
import jwt
import uvloop

from atelier.proto.books.v1 import books_pb2 as pb
from atelier.proto.books.v1.books_pb2_grpc import (
    BookServiceServicer,
    add_BookServiceServicer_to_server,
)
from atelier.roles import freeze

Context = grpc.aio.ServicerContext[Any, Any]

COLUMNS = "id, title, author, publication_date, sequence"
ONE = f"SELECT {COLUMNS} FROM books WHERE id = $1"
PAGE = f"SELECT {COLUMNS} FROM books ORDER BY id DESC LIMIT $1 OFFSET $2"


def shaped(row: asyncpg.Record) -> pb.Book:
    """A row as a message."""
    return pb.Book(
        id=row["id"],
        title=row["title"],
        author=row["author"],
        publication_date=row["publication_date"].isoformat(),
        etag=str(row["sequence"]),
    )


class Echo(BookServiceServicer):
    """The same answer to everything."""

    answer = pb.GetBookResponse(
        book=pb.Book(
            id=1, title="Title 1", author="Author 1", publication_date="1800-01-02", etag="1"
        )
    )

    async def GetBook(self, _: pb.GetBookRequest, __: Context) -> pb.GetBookResponse:  # noqa: N802 - gRPC's case
        """At once."""
        return self.answer


class Typical(BookServiceServicer):
    """A query for each call; pages by OFFSET."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool

    async def GetBook(self, request: pb.GetBookRequest, context: Context) -> pb.GetBookResponse:  # noqa: N802 - as above
        """One row."""
        row = await self.pool.fetchrow(ONE, request.id)
        if row is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such book")
        return pb.GetBookResponse(book=shaped(row))

    async def ListBooks(self, request: pb.ListBooksRequest, _: Context) -> pb.ListBooksResponse:  # noqa: N802 - as above
        """One page."""
        offset = int(request.page_token or 0)
        rows = await self.pool.fetch(PAGE, request.page_size, offset)
        return pb.ListBooksResponse(
            books=map(shaped, rows), next_page_token=str(offset + len(rows))
        )


class Token(grpc.aio.ServerInterceptor):
    """Verifies the signature each time."""

    def __init__(self, secret: str) -> None:
        self.secret = secret

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        """Refuse by raising; enough for a benchmark."""
        value = dict(details.invocation_metadata)["authorization"]
        jwt.decode(
            value.removeprefix("Bearer "),
            self.secret,
            ["HS256"],
            audience="atelier-api",
            issuer="atelier",
        )
        return await continuation(details)


async def main(kind: str, port: str, url: str, secret: str) -> None:
    """Serve until killed."""
    server = grpc.aio.server(interceptors=[Token(secret)] if kind == "asyncpg-token" else [])
    servicer = Echo() if kind == "echo" else Typical(await asyncpg.create_pool(url))
    add_BookServiceServicer_to_server(servicer, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    freeze()
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(main(*sys.argv[1:5]))
