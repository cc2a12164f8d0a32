"""Books over gRPC: read the request, call, shape. Each change is encoded once for all watchers."""

from __future__ import annotations

from functools import partial
from typing import Any

import asyncpg
import grpc
from grpc.aio import ServicerContext

from atelier.auth import Right
from atelier.books import events, queries
from atelier.books.records import published
from atelier.database import Database
from atelier.errors import Unavailable
from atelier.events.follow import Follower
from atelier.events.outbox import Sent
from atelier.proto.books.v1 import books_pb2 as pb
from atelier.proto.books.v1.books_pb2_grpc import (
    BookServiceServicer,
    add_BookServiceServicer_to_server,
)
from atelier.rpc.errors import invalid
from atelier.rpc.interceptor import caller
from atelier.rpc.paging import page_size, page_token, read_token
from atelier.wire.complaints import accepted
from atelier.wire.texts import LINE_LIMIT, composed

Context = ServicerContext[Any, Any]

SERVICE = "atelier.books.v1.BookService"
LIST = "ListBooks"  # page tokens belong to it and to the filters
RIGHTS = dict.fromkeys(
    (f"/{SERVICE}/{name}" for name in ("GetBook", LIST, "WatchBooks")), Right.BOOKS_READ
)
CHANGES = {
    events.CREATED: pb.BOOK_CHANGE_TYPE_CREATED,
    events.UPDATED: pb.BOOK_CHANGE_TYPE_UPDATED,
    events.DELETED: pb.BOOK_CHANGE_TYPE_DELETED,
}


def open_follower(database: Database) -> Follower[bytes]:
    """The follower of book changes as ready answers of WatchBooks."""
    return Follower(database, events.TYPES, _change)


class BookServicer(BookServiceServicer):
    """BookService on the database of the HTTP API."""

    def __init__(self, database: Database, follower: Follower[bytes]) -> None:
        self._database = database
        self._follower = follower

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register this service with a server."""
        add_BookServiceServicer_to_server(self, server)  # type: ignore[no-untyped-call]

    async def GetBook(self, request: pb.GetBookRequest, _: Context) -> pb.GetBookResponse:  # noqa: N802 - gRPC's case
        """One book by its id. Raises NotFound."""
        if request.id < 1:
            raise invalid("id", "must be 1 or more")
        return pb.GetBookResponse(book=_book(await queries.row(self._database, request.id)))

    async def ListBooks(self, request: pb.ListBooksRequest, _: Context) -> pb.ListBooksResponse:  # noqa: N802 - as above
        """A page of books."""
        author, title = _filter(request.author, "author"), _filter(request.title, "title")
        size, query = page_size(request.page_size), (LIST, author, title)
        before = read_token(request.page_token, *query)
        # Before the rows: a watch after this position sees every change that the page does not
        # show.
        sequence = await self._follower.position() if before is None else 0
        filters = queries.Filters(author=author, title=title)
        rows = await queries.page(
            self._database,
            filters,
            person=caller.get().user_id,
            before=before,
            limit=size + 1,
        )
        shown = rows[:size]
        return pb.ListBooksResponse(
            books=map(_book, shown),
            next_page_token=page_token(shown[-1]["id"], *query) if len(rows) > size else "",
            sequence=sequence,
        )

    async def WatchBooks(self, request: pb.WatchBooksRequest, context: Context) -> None:  # noqa: N802 - as above
        """Every change after a position, then each change as it comes."""
        after = request.after_sequence
        if after < 0:
            raise invalid("after_sequence", "must not be negative")
        async for batch in self._follower.follow(after):
            for _, change in batch.items:
                await context.write(change)
            if not batch.items:
                await context.write(pb.WatchBooksResponse(sequence=batch.position))
        raise Unavailable(
            "The server is going down; watch again after the last sequence.", retry_after=0
        )


def _filter(text: str, field: str) -> str:
    """The text of a filter, as HTTP takes it. Raises Invalid."""
    return accepted(partial(composed, text, LINE_LIMIT), field)


def _book(row: asyncpg.Record) -> pb.Book:
    return pb.Book(
        id=row["id"],
        title=row["title"],
        author=row["author"],
        publication_date=published(row),
        etag=str(row["sequence"]),
    )


def _change(sent: Sent) -> bytes:
    event = sent.event
    change = pb.BookChange(
        event_id=event.id,
        type=CHANGES[event.type],
        time=event.time,
        book_sequence=event.sequence,
        book=pb.Book(**event.data, etag=str(event.sequence)),
    )
    return pb.WatchBooksResponse(sequence=sent.position, change=change).SerializeToString()
