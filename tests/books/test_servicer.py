"""GetBook, ListBooks and WatchBooks beside the HTTP API over the same catalogue."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from grpc import StatusCode

from atelier.proto.books.v1 import books_pb2 as pb
from tests.books.support import add
from tests.rpc.support import Books, details, refused
from tests.waiting import patience

if TYPE_CHECKING:
    import httpx2

KINDS = {
    pb.BOOK_CHANGE_TYPE_CREATED: "created",
    pb.BOOK_CHANGE_TYPE_UPDATED: "updated",
    pb.BOOK_CHANGE_TYPE_DELETED: "deleted",
}


def record(book: pb.Book) -> dict[str, Any]:
    """The book as the HTTP API shows it."""
    return {
        "id": book.id,
        "title": book.title,
        "author": book.author,
        "publication_date": book.publication_date,
    }


async def changes(
    stream: Any, count: int, of: set[int] | None = None
) -> list[tuple[int, str, int, int]]:
    """The next changes of some books: position, what, book, its sequence."""
    found: list[tuple[int, str, int, int]] = []
    async with patience():
        while len(found) < count:
            answer = await stream.read()
            change = answer.change
            if answer.HasField("change") and (of is None or change.book.id in of):
                found.append(
                    (answer.sequence, KINDS[change.type], change.book.id, change.book_sequence)
                )
    return found


@pytest.mark.parametrize(
    "publication_date", ["0001-01-01", "1869-01-01", "1904-02-29", "9999-12-31", "1869", "1869-05"]
)
async def test_a_book_is_the_same_over_rest_and_grpc(
    ada: httpx2.AsyncClient, books: Books, publication_date: str
) -> None:
    """GetBook says what GET says, entity tag included, whatever the script and the date."""
    written = await add(ada, title="本 😀 й", author="ñ" * 300, publication_date=publication_date)
    book = await books.get(written["id"])
    assert record(book) == written
    assert f'"{book.etag}"' == (await ada.get(f"/api/books/{book.id}")).headers["etag"]
    await ada.patch(f"/api/books/{book.id}", json={"title": "B"})
    assert (await books.get(book.id)).title == "B"
    await ada.delete(f"/api/books/{book.id}")
    with refused(StatusCode.NOT_FOUND) as errors:
        await books.get(book.id)
    assert details(errors[0])["ErrorInfo"].reason == "NOT_FOUND"


@pytest.mark.parametrize("book_id", [0, -1, -(2**63)])
async def test_an_impossible_id_is_an_invalid_argument(books: Books, book_id: int) -> None:
    """The details name the field."""
    with refused(StatusCode.INVALID_ARGUMENT) as errors:
        await books.get(book_id)
    assert details(errors[0])["BadRequest"].field_violations[0].field == "id"


async def test_the_largest_id_is_not_found(books: Books) -> None:
    """An id that could be one is looked for."""
    with refused(StatusCode.NOT_FOUND):
        await books.get(2**63 - 1)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 1000, 1001, 2**31 - 1])
async def test_pages_of_any_size_hold_every_book_once(
    ada: httpx2.AsyncClient, books: Books, size: int
) -> None:
    """Newest first, in pages of up to `page_size`, none twice and none missed.

    The last page has no token.
    """
    author = uuid.uuid4().hex
    ids = [(await add(ada, author=author, title=str(number)))["id"] for number in range(7)]
    found: list[int] = []
    token = ""
    while True:
        page = await books.page(page_size=size, page_token=token, author=author.upper())
        assert len(page.books) <= size
        found += [book.id for book in page.books]
        token = page.next_page_token
        if not token:
            break
    assert found == ids[::-1]


async def test_the_page_size_may_change_on_the_way(ada: httpx2.AsyncClient, books: Books) -> None:
    """A token goes with any size (AIP-158), and size 0 is the default."""
    author = uuid.uuid4().hex
    for _ in range(52):
        await add(ada, author=author)
    first = await books.page(author=author)
    rest = await books.page(author=author, page_size=1, page_token=first.next_page_token)
    assert (len(first.books), len(rest.books)) == (50, 1)
    assert first.books[-1].id > rest.books[0].id


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"page_size": -1}, "page_size"),
        ({"page_token": "x"}, "page_token"),
        ({"page_token": "\u0000"}, "page_token"),
        ({"page_token": "é" * 1000}, "page_token"),
    ],
)
async def test_pages_that_cannot_be_given_are_refused(
    books: Books, request_: dict[str, Any], field: str
) -> None:
    """Negative sizes and made-up tokens are INVALID_ARGUMENT."""
    with refused(StatusCode.INVALID_ARGUMENT) as errors:
        await books.page(**request_)
    assert details(errors[0])["BadRequest"].field_violations[0].field == field


async def test_a_token_of_another_query_is_refused(ada: httpx2.AsyncClient, books: Books) -> None:
    """A token belongs to its filters."""
    author = uuid.uuid4().hex
    for _ in range(2):
        await add(ada, author=author)
    token = (await books.page(page_size=1, author=author)).next_page_token
    for other in ({}, {"title": author}, {"author": author, "title": "x"}):
        with refused(StatusCode.INVALID_ARGUMENT):
            await books.page(page_token=token, **other)


async def test_a_filter_that_no_column_can_hold_is_an_invalid_argument(books: Books) -> None:
    """NUL is no character of any book."""
    with refused(StatusCode.INVALID_ARGUMENT):
        await books.page(author="\u0000")


async def test_list_then_watch_misses_nothing(
    ada: httpx2.AsyncClient, books: Books, relaying: None
) -> None:
    """The first page gives the position to watch from: later changes come, in order."""
    book = await add(ada)
    where = f"/api/books/{book['id']}"
    sequence = (await books.page(page_size=1)).sequence
    stream = books.watch(sequence)
    await ada.patch(where, json={"title": "B"})
    await ada.patch(where, json={"title": "C"})
    await ada.delete(where)
    seen = [
        change[1:] for change in await changes(stream, 3, {book["id"]}) if change[1] != "created"
    ]
    more = (
        [] if len(seen) == 3 else [change[1:] for change in await changes(stream, 1, {book["id"]})]
    )
    assert [*seen, *more] == [
        ("updated", book["id"], 2),
        ("updated", book["id"], 3),
        ("deleted", book["id"], 4),
    ]
    stream.cancel()


async def test_a_broken_watch_goes_on_where_it_was(
    ada: httpx2.AsyncClient, books: Books, relaying: None
) -> None:
    """Resumed after any message, the stream has no gap and no repeat.

    Two watchers see the same.
    """
    ids = {(await add(ada))["id"] for _ in range(10)}
    whole = books.watch(0)
    everything = await changes(whole, 10, ids)
    assert [change[0] for change in everything] == sorted({change[0] for change in everything})
    resumed: list[tuple[int, str, int, int]] = []
    after = everything[0][0] - 1
    for count in (1, 2, 3, 4):
        part = books.watch(after)
        resumed += await changes(part, count, ids)
        after = resumed[-1][0]
        part.cancel()
    assert resumed == everything
    whole.cancel()


async def test_an_event_is_the_same_over_bus_and_stream(
    ada: httpx2.AsyncClient, books: Books, relaying: None, database_url: str
) -> None:
    """A change carries the id, time and state of its event."""
    book = await add(ada)
    connection = await asyncpg.connect(database_url)
    event = await connection.fetchrow(
        "SELECT * FROM outbox WHERE subject = $1", f"books/{book['id']}"
    )
    await connection.close()
    stream = books.watch(0)
    async with patience():
        while (answer := await stream.read()).change.book.id != book["id"]:
            pass
    assert answer.change.event_id == str(event["event_id"])
    assert answer.change.time.ToDatetime(tzinfo=event["time"].tzinfo) == event["time"]
    assert record(answer.change.book) == book
    assert answer.change.book.etag == "1"
    stream.cancel()


@pytest.mark.parametrize(
    ("after", "code"), [(-1, StatusCode.INVALID_ARGUMENT), (2**62, StatusCode.OUT_OF_RANGE)]
)
async def test_a_watch_from_nowhere_is_refused(books: Books, after: int, code: StatusCode) -> None:
    """Below the log's beginning is invalid, beyond its end out of range."""
    with refused(code):
        await books.watch(after).read()


async def test_a_watch_from_before_the_retention_is_out_of_range(
    ada: httpx2.AsyncClient, books: Books, relaying: None, database_url: str
) -> None:
    """A watcher that comes too late is told so, misses nothing, and can list again."""
    await add(ada)
    stream = books.watch((await books.page(page_size=1)).sequence)
    await changes(stream, 1)
    stream.cancel()
    connection = await asyncpg.connect(database_url)
    await connection.execute("DELETE FROM outbox WHERE position IS NOT NULL")
    await connection.close()
    with refused(StatusCode.OUT_OF_RANGE) as errors:
        await books.watch(0).read()
    assert details(errors[0])["ErrorInfo"].reason == "LOG_PRUNED"
    late = books.watch((await books.page(page_size=1)).sequence)
    book = await add(ada)
    assert (await changes(late, 1))[0][1:] == ("created", book["id"], 1)
    late.cancel()
