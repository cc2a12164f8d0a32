"""The contract of `/api/books`, row by row, and the edges of every value."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import asyncpg
import orjson
import pytest

from tests.books.support import WAR, add

if TYPE_CHECKING:
    import httpx2
    from redis.asyncio import Redis


async def events(database_url: str, book_id: int) -> list[tuple[str, int, dict[str, Any]]]:
    """Announcements about a book: type, sequence, data."""
    connection = await asyncpg.connect(database_url)
    query = "SELECT type, sequence, data FROM outbox WHERE subject = $1 ORDER BY id"
    rows = await connection.fetch(query, f"books/{book_id}")
    await connection.close()
    return [(row["type"], row["sequence"], orjson.loads(row["data"])) for row in rows]


async def test_a_book_is_added_read_replaced_changed_and_removed(
    ada: httpx2.AsyncClient, database_url: str
) -> None:
    """The whole life of a book, each step announced once with the state it made."""
    answer = await ada.post("/api/books", json=WAR)
    book = answer.json()
    where = f"/api/books/{book['id']}"
    assert answer.status_code == 201
    assert answer.headers["location"] == where
    assert book == {"id": book["id"], **WAR}
    assert list(book) == ["id", "title", "author", "publication_date"]
    read = await ada.get(where)
    assert (read.status_code, read.json()) == (200, book)
    assert read.headers["etag"] == answer.headers["etag"]
    other = {"title": "Anna Karenina", "author": "Leo Tolstoy", "publication_date": "1878-04-01"}
    replaced = await ada.put(where, json=other)
    assert (replaced.status_code, replaced.json()) == (200, {"id": book["id"], **other})
    changed = await ada.patch(where, json={"author": "Lev Tolstoy"})
    assert changed.json() == {"id": book["id"], **other, "author": "Lev Tolstoy"}
    assert (await ada.get(where)).json() == changed.json()
    removed = await ada.delete(where)
    assert (removed.status_code, removed.content) == (204, b"")
    assert (await ada.get(where)).status_code == 404
    assert await events(database_url, book["id"]) == [
        ("book.created", 1, book),
        ("book.updated", 2, replaced.json()),
        ("book.updated", 3, changed.json()),
        ("book.deleted", 4, changed.json()),
    ]


async def test_a_change_that_changes_nothing_is_not_announced(
    ada: httpx2.AsyncClient, database_url: str
) -> None:
    """PUT of what is there and PATCH of nothing leave entity tag and log as they were."""
    book = await add(ada)
    where = f"/api/books/{book['id']}"
    for answer in (await ada.put(where, json=WAR), await ada.patch(where, json={})):
        assert (answer.status_code, answer.json(), answer.headers["etag"]) == (200, book, '"1"')
    assert len(await events(database_url, book["id"])) == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("book_id", ["9223372036854775807", "0", "-1", "9223372036854775808", "x"])
async def test_an_unknown_book_is_404_and_an_impossible_id_422(
    ada: httpx2.AsyncClient, method: str, book_id: str
) -> None:
    """An id that could be one is not found; one that could not is invalid."""
    answer = await ada.request(
        method, f"/api/books/{book_id}", json=WAR if method in {"PUT", "PATCH"} else None
    )
    assert answer.status_code == (404 if book_id == "9223372036854775807" else 422)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("POST", ""), ("GET", "/1"), ("PUT", "/1"), ("PATCH", "/1"), ("DELETE", "/1")],
)
@pytest.mark.parametrize("token", [None, "Bearer x", "Basic YTpi", "Bearer "])
async def test_nothing_is_shown_or_done_without_a_token(
    stranger: httpx2.AsyncClient, method: str, path: str, token: str | None
) -> None:
    """Every operation answers 401 with WWW-Authenticate to somebody who has not signed in."""
    headers = {} if token is None else {"Authorization": token}
    answer = await stranger.request(method, f"/api/books{path}", json=WAR, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_the_catalogue_is_shared(ada: httpx2.AsyncClient, bob: httpx2.AsyncClient) -> None:
    """Any user may read, change and remove a book that another one added."""
    where = f"/api/books/{(await add(ada))['id']}"
    assert (await bob.get(where)).status_code == 200
    assert (await bob.patch(where, json={"title": "War and Peace"})).status_code == 200
    assert (await ada.get(where)).json()["title"] == "War and Peace"
    assert (await bob.delete(where)).status_code == 204


@pytest.mark.parametrize(
    "publication_date",
    [
        "0001-01-01",
        "0999-12-31",
        "1899-12-31",
        "1900-02-28",
        "2000-02-29",
        "2024-02-29",
        "9999-12-31",
        "0001",
        "1897",
        "9999",
        "0001-01",
        "1897-05",
        "9999-12",
    ],
)
async def test_dates_of_all_ages_come_back_as_they_went(
    ada: httpx2.AsyncClient, publication_date: str
) -> None:
    """Before 1900, in leap years, to the calendar's ends, as exact as they were given.

    In the record and in the list.
    """
    book = await add(ada, publication_date=publication_date)
    assert book["publication_date"] == publication_date
    assert (await ada.get(f"/api/books/{book['id']}")).json() == book
    assert (await ada.get("/api/books?limit=1")).json() == [book]


@pytest.mark.parametrize(
    "publication_date",
    [
        "1900-02-29",
        "2023-02-29",
        "2023-13-01",
        "2023-00-10",
        "0000-01-01",
        "10000-01-01",
        "-0001-01-01",
        "20230101",
        "2023-1-1",
        "0000",
        "0000-01",
        "2023-00",
        "2023-13",
        "2023-1",
        "2023-",
        "2023-01-",
        "202",
        "20230",
        "-0043",
        "+2023",
        "44 BC",
        "1897?",
        "189X",
        1897,
        "2023-W01-1",
        "2023-01-01T00:00:00",
        "01.02.2023",
        "٢٠٢٣-٠١-٠١",
        "",
        " 2023-01-01",
        20230101,
        1672531200,
        None,
        True,
        [],
    ],
)
async def test_what_is_no_date_is_refused(
    ada: httpx2.AsyncClient, publication_date: object
) -> None:
    """422 names the field; neither other spellings nor numbers nor impossible days are dates."""
    answer = await ada.post("/api/books", json=WAR | {"publication_date": publication_date})
    assert answer.status_code == 422
    assert [error["loc"] for error in answer.json()["errors"]] == [["body", "publication_date"]]


@pytest.mark.parametrize("field", ["title", "author"])
@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("x", "x"),
        ("x" * 300, "x" * 300),
        ("😀" * 300, "😀" * 300),
        ("й" * 300, "й" * 300),  # decomposed: 600 code points become 300
        ("  Tom \t Sawyer\n", "Tom Sawyer"),
        ("x" + " " * 400 + "y", "x y"),
        ("کتاب", "کتاب"),
        ("本", "本"),
        ("'; DROP TABLE books; --", "'; DROP TABLE books; --"),
        ("<b>&amp;</b>", "<b>&amp;</b>"),
    ],
)
async def test_texts_are_kept_in_nfc_on_one_line(
    ada: httpx2.AsyncClient, field: str, text: str, kept: str
) -> None:
    """1 to 300 characters after normalisation, of any script."""
    assert (await add(ada, **{field: text}))[field] == kept


async def test_how_exact_a_date_is_can_change(ada: httpx2.AsyncClient, database_url: str) -> None:
    """A year is not its first of January: the change counts, and is announced as it was given."""
    book = await add(ada, publication_date="1897")
    where = f"/api/books/{book['id']}"
    for written, tag in (("1897-01-01", 2), ("1897-01-01", 2), ("1897-01", 3), ("1897", 4)):
        answer = await ada.patch(where, json={"publication_date": written})
        assert answer.json()["publication_date"] == written
        assert answer.headers["etag"] == f'"{tag}"'
    told = [data["publication_date"] for *_, data in await events(database_url, book["id"])]
    assert told == ["1897", "1897-01-01", "1897-01", "1897"]


@pytest.mark.parametrize(
    ("first", "precision"),
    [("1897-02-01", "year"), ("1897-01-02", "month"), ("1897-01-01", "age")],
)
async def test_the_table_holds_no_other_date(
    ada: httpx2.AsyncClient, database_url: str, first: str, precision: str
) -> None:
    """What is known to the month is kept as its first day, to the year as its first of January."""
    book = await add(ada, publication_date="1897")
    connection = await asyncpg.connect(database_url)
    try:
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute(
                "UPDATE books SET publication_date = $1::text::date, publication_precision = $2 "
                "WHERE id = $3",
                *(first, precision, book["id"]),
            )
    finally:
        await connection.close()


@pytest.mark.parametrize("field", ["title", "author"])
@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t",
        "x" * 301,
        "😀" * 301,
        "й" * 301,
        "x" * 20_000,
        "a\u0000b",
        "a\u0007b",
        "\u009f",
        7,
        True,
        None,
        ["x"],
        {},
    ],
)
async def test_texts_that_do_not_fit_are_refused(
    ada: httpx2.AsyncClient, field: str, text: object
) -> None:
    """Empty, too long, with control characters, or no text at all: 422."""
    answer = await ada.post("/api/books", json=WAR | {field: text})
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "body", [{}, {"title": "x"}, WAR | {"id": 7}, WAR | {"isbn": "x"}, [], "x", None]
)
async def test_a_book_needs_all_its_fields_and_no_others(
    ada: httpx2.AsyncClient, body: object
) -> None:
    """Neither missing nor unknown fields are taken, least of all an id."""
    assert (await ada.post("/api/books", json=body)).status_code == 422
    if body != {}:
        book = await add(ada)
        assert (await ada.put(f"/api/books/{book['id']}", json=body)).status_code == 422


async def test_pages_hold_every_book_once_newest_first(ada: httpx2.AsyncClient) -> None:
    """Following `Link` shows each book once, also while others are added and removed."""
    author = uuid.uuid4().hex
    ids = [(await add(ada, author=author, title=f"Volume {number}"))["id"] for number in range(7)]
    found: list[int] = []
    url: str | None = f"/api/books?author={author}&limit=2"
    while url:
        answer = await ada.get(url)
        found += [book["id"] for book in answer.json()]
        await add(ada, author=author)
        url = answer.links.get("next", {}).get("url")
    assert found == ids[::-1]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"author": "{tag}"}, ["Straße", "100% Ünï_code", "ВОЙНА"]),
        ({"author": "{TAG}"}, ["Straße", "100% Ünï_code", "ВОЙНА"]),
        ({"author": "{tag}", "title": "война"}, ["ВОЙНА"]),
        ({"author": "{tag}", "title": "STRASSE"}, ["Straße"]),
        ({"author": "{tag}", "title": "0% üNÏ_"}, ["100% Ünï_code"]),
        ({"author": "{tag}", "title": "u\u0308ni\u0308"}, ["100% Ünï_code"]),
        ({"author": "{tag}", "title": "%"}, ["100% Ünï_code"]),
        ({"author": "{tag}", "title": "_"}, ["100% Ünï_code"]),
        ({"author": "{tag}", "title": "\\"}, []),
        ({"author": "{tag}", "title": ""}, ["Straße", "100% Ünï_code", "ВОЙНА"]),
        ({"author": "nobody {tag}"}, []),
    ],
)
async def test_filters_find_what_contains_a_text_in_any_case(
    ada: httpx2.AsyncClient, query: dict[str, str], expected: list[str]
) -> None:
    """Author and title are searched without regard to case; no character is a wildcard."""
    tag = uuid.uuid4().hex
    for title in ("ВОЙНА", "100% Ünï_code", "Straße"):
        await add(ada, author=f"Ann {tag}", title=title)
    params = {
        name: value.replace("{tag}", tag).replace("{TAG}", tag.upper())
        for name, value in query.items()
    }
    answer = await ada.get("/api/books", params=params)
    assert [book["title"] for book in answer.json()] == expected


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "cursor=x", "author=" + "x" * 301, "cursor="]
)
async def test_a_list_that_cannot_be_given_is_refused(ada: httpx2.AsyncClient, query: str) -> None:
    """Limits outside 1..500, made-up cursors and filters that match no possible book are 422."""
    assert (await ada.get(f"/api/books?{query}")).status_code == 422


async def test_a_cursor_of_another_query_is_refused(ada: httpx2.AsyncClient) -> None:
    """A cursor belongs to the filters it was made for."""
    tag = uuid.uuid4().hex
    for _ in range(2):
        await add(ada, author=tag)
    link = (await ada.get(f"/api/books?author={tag}&limit=1")).links["next"]["url"]
    assert (await ada.get(link)).status_code == 200
    assert (await ada.get(link.replace(tag, "Tolstoy"))).status_code == 422


async def test_if_match_guards_every_change(ada: httpx2.AsyncClient) -> None:
    """A stale tag is 412 without effect, the current one is accepted, and reading it is 304."""
    book = await add(ada)
    where = f"/api/books/{book['id']}"
    first = (await ada.get(where)).headers["etag"]
    assert (await ada.get(where, headers={"If-None-Match": first})).status_code == 304
    assert (
        await ada.patch(where, json={"title": "B"}, headers={"If-Match": first})
    ).status_code == 200
    stale = {"If-Match": first}
    assert (await ada.patch(where, json={"title": "C"}, headers=stale)).status_code == 412
    assert (await ada.put(where, json=WAR, headers=stale)).status_code == 412
    assert (await ada.delete(where, headers=stale)).status_code == 412
    present = await ada.get(where, headers={"If-None-Match": first})
    assert (present.status_code, present.json()["title"]) == (200, "B")
    assert (
        await ada.delete(where, headers={"If-Match": present.headers["etag"]})
    ).status_code == 204


@pytest.mark.parametrize("field", ["title", "author", "publication_date"])
async def test_null_is_no_way_to_keep_a_field(ada: httpx2.AsyncClient, field: str) -> None:
    """It is refused, for it would change nothing and look as if it had."""
    where = f"/api/books/{(await add(ada))['id']}"
    answer = await ada.patch(where, json={field: None})
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["loc"]) == (422, ["body", field])
    assert error["msg"] == "Null is not a value for this; leave the field out to keep it"


async def test_the_same_key_adds_one_book(
    ada: httpx2.AsyncClient, bob: httpx2.AsyncClient, database_url: str
) -> None:
    """An Idempotency-Key replays the first answer, refuses another body, and is per user."""
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    first = await ada.post("/api/books", json=WAR, headers=headers)
    again = await ada.post("/api/books", json=WAR, headers=headers)
    assert (again.status_code, again.json(), again.headers["location"]) == (
        201,
        first.json(),
        first.headers["location"],
    )
    assert again.headers["etag"] == first.headers["etag"]
    assert len(await events(database_url, first.json()["id"])) == 1
    assert (
        await ada.post("/api/books", json=WAR | {"title": "B"}, headers=headers)
    ).status_code == 422
    assert (await bob.post("/api/books", json=WAR, headers=headers)).json()["id"] != first.json()[
        "id"
    ]


async def test_a_cached_read_is_never_stale_after_a_write(
    ada: httpx2.AsyncClient, redis: Redis
) -> None:
    """After an acknowledged change, a read shows it, whatever was read and cached before."""
    book = await add(ada)
    where = f"/api/books/{book['id']}"
    for number in range(5):
        await ada.get(where)
        assert await redis.keys("cache:*"), "reads are cached"
        await ada.patch(where, json={"title": f"Edition {number}"})
        assert (await ada.get(where)).json()["title"] == f"Edition {number}"
    await ada.delete(where)
    assert (await ada.get(where)).status_code == 404
