"""The same rules at every edge: FastAPI, Django and gRPC answer one request alike."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx2
import pytest
from grpc import StatusCode

from atelier.files import django_setup
from atelier.roles import api
from atelier.settings import Settings
from tests.api.operations import BOOK, PHOTO
from tests.api.people import sign_up
from tests.http.support import served
from tests.ports import free_port
from tests.rpc.support import Books, channel_to, details, refused, serving
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MIB = 1024 * 1024
SIZE = len(PHOTO)
EARLIER, LATER = "Sat, 21 Nov 2020 05:44:06 GMT", "Sat, 21 Nov 2099 05:44:06 GMT"
# What a client acts on; the rest of a header's values belongs to one thing or one request.
TOLD = (
    *("content-type", "content-length", "content-range", "accept-ranges", "cache-control"),
    *("content-security-policy", "x-content-type-options", "idempotent-replayed", "retry-after"),
)


class Edge(NamedTuple):
    """A noun at one edge: where it is listed, where it is made, and one that is there."""

    listed: str
    made: str
    record: str
    content: str
    tag: str
    state: str  # the record's tag
    modified: str


class Edges(NamedTuple):
    """Both HTTP edges, and a client of one user."""

    client: httpx2.AsyncClient
    fastapi: Edge
    django: Edge


@pytest.fixture(scope="module")
def settings(
    tmp_path_factory: pytest.TempPathFactory, database_url: str, redis_url: str
) -> Settings:
    """Settings of an instance that all tests share."""
    return Settings(
        data=tmp_path_factory.mktemp("parity"),
        database_url=database_url,
        redis_url=redis_url,
        secret="s" * 64,
        access_token_seconds=36_000,
        body_limit=2 * MIB,
        grpc_port=free_port(),
    )


@pytest.fixture(scope="module")
async def edges(settings: Settings) -> AsyncIterator[Edges]:
    """The API over a socket, with pictures at one edge and files at the other."""
    async with (
        served(api.build(settings)) as port,
        httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS
        ) as client,
    ):
        client.headers |= (await sign_up(client)).headers
        for path in ("/api/images", "/api/upload"):
            for _ in range(2):
                assert (await client.post(path, files=_photo())).status_code == 201
        yield Edges(
            client,
            await _edge(client, "/api/images", "/api/images", "{}/info", "{}/renditions/original"),
            await _edge(client, "/api/files", "/api/upload", "{}", "{}/content"),
        )
    django_setup.disconnect()


async def _edge(
    client: httpx2.AsyncClient, listed: str, made: str, record: str, content: str
) -> Edge:
    id_ = (await client.get(listed)).json()[0]["id"]
    record, content = (shape.format(f"{listed}/{id_}") for shape in (record, content))
    state = (await client.get(record)).headers["etag"]
    about = (await client.get(content)).headers
    return Edge(listed, made, record, content, about["etag"], state, about["last-modified"])


def _photo(content: bytes = PHOTO, name: str = "a.jpg") -> dict[str, Any]:
    return {"file": (name, content)}


@pytest.fixture
async def books(edges: Edges, settings: Settings) -> AsyncIterator[Books]:
    """The same user's view of the catalogue over gRPC."""
    for _ in range(2):
        assert (await edges.client.post("/api/books", json=BOOK)).status_code == 201
    async with serving(settings) as port, channel_to(port) as channel:
        yield Books(channel, edges.client.headers["authorization"])


def told(answer: httpx2.Response) -> dict[str, Any]:
    """What an answer says, but for what belongs to one thing: the body of a success."""
    headers = {name: answer.headers[name] for name in TOLD if name in answer.headers}
    if answer.headers.get("content-type") == "application/problem+json":
        headers.pop("content-length")
        return {"status": answer.status_code, "problem": answer.json(), **headers}
    if answer.headers.get("content-type") == "application/json":
        headers.pop("content-length", None)
    return {"status": answer.status_code, **headers}


async def both(
    edges: Edges, method: str, place: str, **request: Any
) -> tuple[httpx2.Response, httpx2.Response]:
    """The answers of FastAPI and of Django; braces in headers take an edge's own values."""
    answers = []
    headers = request.pop("headers", {})
    for edge in (edges.fastapi, edges.django):
        filled = {name: value.format_map(edge._asdict()) for name, value in headers.items()}
        url = place.format_map(edge._asdict())
        answers.append(await edges.client.request(method, url, headers=filled, **request))
    return answers[0], answers[1]


async def assert_equal(edges: Edges, status: int, method: str, place: str, **request: Any) -> None:
    """Both edges answer so, and in the same words."""
    fastapi, django = map(told, await both(edges, method, place, **request))
    assert fastapi["status"] == status, fastapi
    for each in (fastapi, django):
        if status < 300:
            each.pop("content-type", None)  # a photograph is one everywhere, a file may be any
    assert django == fastapi


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("bytes=0-0", 206),
        ("bytes=5-9", 206),
        ("bytes=0-", 206),
        ("bytes=-7", 206),
        (f"bytes=-{10 * SIZE}", 206),
        (f"bytes=3-{10 * SIZE}", 206),
        (f"bytes={SIZE}-", 416),
        (f"bytes={SIZE + 5}-{SIZE + 9}", 416),
        ("bytes=-0", 416),
        ("bytes=5-2", 200),
        ("bytes=0-1,4-5", 200),
        ("items=0-1", 200),
        ("Bytes=0-1", 200),
        ("bytes", 200),
        ("bytes=-", 200),
        ("bytes=a-b", 200),
        ("bytes=" + "9" * 40 + "-", 200),
        ("", 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_ranges(edges: Edges, method: str, value: str, status: int) -> None:
    """The same part, the same refusal, and HEAD without regard to it."""
    expected = 200 if method == "HEAD" else status
    await assert_equal(edges, expected, method, "{content}", headers={"Range": value})


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": "{tag}"}, 304),
        ({"If-None-Match": "W/{tag}"}, 304),
        ({"If-None-Match": '"a", {tag} , "b"'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"other"'}, 200),
        ({"If-None-Match": "unquoted"}, 200),
        ({"If-None-Match": '"half'}, 200),
        ({"If-None-Match": ""}, 200),
        ({"If-None-Match": '"other"', "If-Modified-Since": LATER}, 200),
        ({"If-None-Match": "unquoted", "If-Modified-Since": LATER}, 200),
        ({"If-Modified-Since": "{modified}"}, 304),
        ({"If-Modified-Since": LATER}, 304),
        ({"If-Modified-Since": EARLIER}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-Match": "{tag}"}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"other", {tag}'}, 200),
        ({"If-Match": '"other"'}, 412),
        ({"If-Match": "W/{tag}"}, 412),
        ({"If-Match": "unquoted"}, 400),
        ({"If-Match": ""}, 400),
        ({"If-Match": '"other"', "If-None-Match": "{tag}"}, 412),
        ({"If-Unmodified-Since": EARLIER}, 412),
        ({"If-Unmodified-Since": "{modified}"}, 200),
        ({"If-Unmodified-Since": "yesterday"}, 200),
        ({"If-Range": "{tag}", "Range": "bytes=0-1"}, 206),
        ({"If-Range": "{modified}", "Range": "bytes=0-1"}, 206),
        ({"If-Range": '"other"', "Range": "bytes=0-1"}, 200),
        ({"If-Range": "W/{tag}", "Range": "bytes=0-1"}, 200),
        ({"If-Range": LATER, "Range": "bytes=0-1"}, 200),
        ({"If-Range": "?", "Range": "bytes=0-1"}, 200),
    ],
)
async def test_conditions_of_contents(edges: Edges, headers: dict[str, str], status: int) -> None:
    """The content, a part of it, 304, 400 or 412 for the same headers."""
    await assert_equal(edges, status, "GET", "{content}", headers=headers)


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("{state}", 304),
        ("W/{state}", 304),
        ('"other", {state}', 304),
        ("*", 304),
        ('"other"', 200),
        ("unquoted", 200),
        ("", 200),
    ],
)
async def test_conditions_of_records(edges: Edges, value: str, status: int) -> None:
    """304 for a client that has the record."""
    await assert_equal(edges, status, "GET", "{record}", headers={"If-None-Match": value})


@pytest.mark.parametrize(
    ("value", "status"),
    [('"other"', 412), ("W/{state}", 412), ("unquoted", 400), ("", 400), ('*, "a"', 400)],
)
@pytest.mark.parametrize("verb", ["DELETE", "POST"])
async def test_conditions_of_changes(edges: Edges, verb: str, value: str, status: int) -> None:
    """Neither a delete nor a retry of another state."""
    answers = []
    for edge in (edges.fastapi, edges.django):
        place = f"{edge.listed}/{edge.record.split('/')[3]}{'/retry' if verb == 'POST' else ''}"
        headers = {"If-Match": value.format_map(edge._asdict())}
        answers.append(told(await edges.client.request(verb, place, headers=headers)))
    assert answers[0]["status"] == status
    nouns = ("image", "file")
    for answer, noun in zip(answers, nouns, strict=True):
        problem = answer["problem"]
        problem["detail"] = problem["detail"].replace(f"The {noun} ", "The object ")
    assert answers[1] == answers[0]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 200),
        ("limit=1", 200),
        ("limit=500", 200),
        ("limit=007", 200),
        ("limit=0", 422),
        ("limit=501", 422),
        ("limit=-1", 422),
        ("limit=", 422),
        ("limit=x", 422),
        ("limit=1.0", 422),
        ("limit=1_0", 422),
        ("limit=%201", 422),
        ("limit=" + "9" * 30, 422),
        ("limit=x&limit=1", 200),
        ("limit=1&limit=x", 422),
        ("cursor=", 422),
        ("cursor=x", 422),
        ("cursor=" + "A" * 19, 422),
        ("cursor=" + "A" * 20, 422),
        ("cursor=" + "A" * 500, 422),
        ("cursor=%F0%9F%98%80", 422),
        ("cursor=A%20B", 422),
    ],
)
async def test_pages(edges: Edges, query: str, status: int) -> None:
    """Limits and cursors are read alike, and refused in the same words."""
    await assert_equal(edges, status, "GET", f"{{listed}}?{query}")


async def test_a_cursor_leads_on_at_its_own_list_alone(edges: Edges) -> None:
    """Both link to the next page; the other list's cursor is refused by both."""
    links = [
        answer.links["next"]["url"] for answer in await both(edges, "GET", "{listed}?limit=1")
    ]
    assert [link.partition("?")[0] for link in links] == [
        edges.fastapi.listed,
        edges.django.listed,
    ]
    queries = [link.partition("?")[2] for link in links]
    first, second = links
    for own, foreign in ((first, queries[1]), (second, queries[0])):
        listed = own.partition("?")[0]
        assert len((await edges.client.get(own)).json()) == 1
        refusal = (await edges.client.get(f"{listed}?{foreign}")).json()
        assert refusal["errors"] == [
            {
                "loc": ["query", "cursor"],
                "msg": "This cursor belongs to another list or other filters.",
            }
        ]


OF_PICTURES = (
    "`format`, `sort`, `space`, `status`, `tag`, `q`, `date`, `from`, `to`, `limit`, `cursor`"
)


async def test_an_unknown_filter(edges: Edges) -> None:
    """It is refused with those that there are; a value that is none with those that may be."""
    fastapi, django = await both(edges, "GET", "{listed}?statsu=queued&limitt=1")
    for answer, there in (
        (fastapi, OF_PICTURES),
        (django, "`status`, `kind`, `q`, `space`, `limit`, `cursor`"),
    ):
        assert answer.status_code == 422
        message = f"There is no such parameter; there are {there}"
        assert answer.json()["errors"] == [
            {"loc": ["query", "statsu"], "msg": message},
            {"loc": ["query", "limitt"], "msg": message},
        ]
    fastapi, django = await both(edges, "GET", "{listed}?status=lost")
    assert fastapi.json()["errors"][0]["msg"] == ("One of 'queued', 'ready' or 'failed' is needed")
    assert django.json()["errors"][0]["msg"] == (
        "One of 'queued', 'processed' or 'failed' is needed"
    )
    for answer in (fastapi, django):
        assert answer.json()["detail"] == "Some values are not acceptable."


@pytest.mark.parametrize(
    "key", [b"", b"a b", b"a\tb", b"k" * 256, "ключ".encode(), b"\xff"], ids=repr
)
async def test_idempotency_keys_that_are_none(edges: Edges, key: bytes) -> None:
    """1 to 255 printable ASCII characters."""
    answers = [
        told(await edges.client.post(edge.made, files=_photo(), headers={b"Idempotency-Key": key}))
        for edge in (edges.fastapi, edges.django)
    ]
    assert answers[0]["status"] == 422
    assert answers[1] == answers[0]


@pytest.mark.parametrize("key", ["k", "!~", "K" * 255], ids=["short", "signs", "long"])
async def test_idempotency_keys(edges: Edges, key: str) -> None:
    """The same content is answered from the first run, headers and all; other content refused."""
    key = (key + uuid.uuid4().hex)[-255:]
    headers = {"Idempotency-Key": key}
    firsts = await both(edges, "POST", "{made}", files=_photo(), headers=headers)
    again = await both(edges, "POST", "{made}", files=_photo(), headers=headers)
    kept = ("content-type", "location", "etag", "cache-control")
    for first, replay in zip(firsts, again, strict=True):
        assert (replay.status_code, replay.content) == (201, first.content)
        assert replay.headers["idempotent-replayed"] == "true"
        assert [replay.headers.get(name) for name in kept] == [
            first.headers.get(name) for name in kept
        ]
    other = _photo(PHOTO + b"x")
    await assert_equal(edges, 422, "POST", "{made}", files=other, headers=headers)
    renamed = _photo(name="b.jpg")
    await assert_equal(edges, 422, "POST", "{made}", files=renamed, headers=headers)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"files": [("file", ("a.jpg", PHOTO)), ("file", ("b.jpg", PHOTO))]}, 422),
        ({"files": _photo(bytes(3 * MIB))}, 413),
        ({"json": {"file": "x"}}, 415),
        ({"data": {"file": "x"}}, 415),
        ({"content": b"broken", "headers": {"Content-Type": "multipart/form-data"}}, 400),
        (
            {"content": b"--x", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
            400,
        ),
        ({"content": b"", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, 400),
    ],
    ids=["two files", "large", "JSON", "urlencoded", "no boundary", "broken", "empty"],
)
async def test_forms_that_are_none(edges: Edges, request_: dict[str, Any], status: int) -> None:
    """The reader of forms is one, and so are its complaints."""
    await assert_equal(edges, status, "POST", "{made}", **request_)


def _raw(disposition: bytes, more: bytes = b"Content-Type: image/jpeg") -> dict[str, Any]:
    """A form as some client writes it by itself."""
    head = b'Content-Disposition: form-data; name="file"' + disposition + b"\r\n" + more
    body = b"--b\r\n" + head.rstrip(b"\r\n") + b"\r\n\r\n" + PHOTO + b"\r\n--b--\r\n"
    return {"content": body, "headers": {"Content-Type": "Multipart/Form-Data; BOUNDARY=b"}}


@pytest.mark.parametrize(
    ("disposition", "more", "name"),
    [
        (b"; filename=\"=?utf-8?B?0KIuanBn?=\"; filename*=utf-8''%D0%A2.jpg", b"", "Т.jpg"),
        (b'; filename="a\xc2\xa0b.jpg"', b"", "a b.jpg"),
        (b'; filename="a%22b.jpg"', b"", 'a"b.jpg'),
        (b';\r\n filename="a.jpg"', b"", "a.jpg"),
        (b"", b"Content-Type: IMAGE/JPEG", "untitled"),
        (b'; filename="a.jpg"', b"Content-Transfer-Encoding: Binary", "a.jpg"),
    ],
    ids=["both names", "no-break", "quote", "folded", "none", "binary"],
)
async def test_forms_as_some_clients_write_them(
    edges: Edges, disposition: bytes, more: bytes, name: str
) -> None:
    """A file comes in, and is called the same, by every way to write a form."""
    fastapi, django = await both(edges, "POST", "{made}", **_raw(disposition, more))
    assert (fastapi.json()["title"], django.json()["name"]) == (name, name)


@pytest.mark.parametrize(
    ("disposition", "more"),
    [
        (b'; filename="\xd2.jpg"', b""),
        (b"; filename*=zlib''a.jpg", b""),
        (b'; filename="a.jpg"', b"Content-Transfer-Encoding: base64"),
    ],
    ids=["windows-1251", "extended", "base64"],
)
async def test_files_that_cannot_be_read(edges: Edges, disposition: bytes, more: bytes) -> None:
    """The complaint names the file's part and says what is wrong, in the same words."""
    fastapi, django = map(told, await both(edges, "POST", "{made}", **_raw(disposition, more)))
    assert (fastapi["status"], django) == (422, fastapi)
    (error,) = fastapi["problem"]["errors"]
    assert error["loc"] == ["body", "file"]
    assert fastapi["problem"]["detail"] == f"{error['msg']}."


async def test_an_unknown_field(edges: Edges) -> None:
    """It is refused by its name, with those that there are."""
    fastapi, django = await both(edges, "POST", "{made}", files=_photo(), data={"titel": "Sea"})
    for answer, there in (
        (fastapi, "are `file`, `image`, `title`, `description`, `tags`"),
        (django, "is `file`"),
    ):
        assert answer.status_code == 422
        assert answer.json()["errors"] == [
            {"loc": ["body", "titel"], "msg": f"There is no such field; there {there}"}
        ]


@pytest.mark.parametrize("name", ["a.jpg", "a&amp;b.jpg", 'q".jpg', "a/b/c.jpg", "e\u0301.jpg"])
async def test_file_names(edges: Edges, name: str) -> None:
    """A file is called the same wherever it comes in."""
    fastapi, django = await both(edges, "POST", "{made}", files=_photo(name=name))
    assert django.json()["name"] == fastapi.json()["title"]


@pytest.mark.parametrize("token", ["x", "AAAA", "A" * 19, "A" * 500, "😀", "A B"])
async def test_page_tokens_over_grpc(edges: Edges, books: Books, token: str) -> None:
    """What no list of HTTP takes for a cursor is no page token either; each names its place."""
    params = {"cursor": token}
    fastapi, django = await both(edges, "GET", "{listed}", params=params)
    assert fastapi.json() == django.json()
    with refused(StatusCode.INVALID_ARGUMENT) as errors:
        await books.page(page_token=token)
    assert details(errors[0])["BadRequest"].field_violations[0].field == "page_token"
    assert details(errors[0])["ErrorInfo"].reason == "INVALID"


async def test_cursors_and_tags_over_grpc(edges: Edges, books: Books) -> None:
    """A foreign cursor is refused, and an entity tag is the one that HTTP gives."""
    page = await books.page(page_size=1)
    with refused(StatusCode.INVALID_ARGUMENT) as errors:
        await books.page(page_token=page.next_page_token, title="other")
    message = details(errors[0])["BadRequest"].field_violations[0].description
    assert message == "belongs to another list or other filters"
    book = page.books[0]
    over_http = await edges.client.get(f"/api/books/{book.id}")
    assert over_http.headers["etag"] == f'"{book.etag}"'
