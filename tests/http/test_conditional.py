"""Entity tags, dates and ranges by RFC 9110, from memory, a file and a remote store."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
from fastapi import APIRouter, Request, Response

from atelier.errors import PreconditionFailed
from atelier.http.app import create_app
from atelier.http.conditional import (
    disposition,
    if_match,
    picture_response,
    record_response,
)
from atelier.http.resources import Res
from atelier.http.sendfile import CHUNK_BYTES, RemoteBlob, content_of
from tests.http.support import in_process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from atelier.http.resources import Resources

CONTENT = bytes(range(256)) * (CHUNK_BYTES // 128) + b"the end"  # two chunks and a bit
SIZE = len(CONTENT)
MODIFIED = datetime(2026, 11, 21, 5, 44, 6, 123456, tzinfo=UTC)
DATE, EARLIER, LATER = (f"Sat, 21 Nov 2026 05:44:{second} GMT" for second in ("06", "05", "07"))
TAG = '"v7"'
KEY = "images/abc/picture.jpg"
SOURCES = ("bytes", "file", "remote")
router = APIRouter()


@router.get("/picture/{source}")
async def picture(request: Request, res: Res, source: str) -> Response:
    """The content from one of the sources."""
    path = content_of(res.blobs, KEY, SIZE)
    content = {"bytes": CONTENT, "file": path, "remote": RemoteBlob(res.blobs, KEY, SIZE)}.get(
        source, path
    )
    return picture_response(
        request,
        content,
        media_type="image/jpeg",
        etag="v7",
        modified=MODIFIED,
        filename='Тень "на" стене.jpg',
    )


@router.get("/record")
async def record(request: Request) -> Response:
    """A record."""
    return record_response(request, b'{"id":1}', "v7")


@router.put("/record")
async def change(request: Request) -> Response:
    """Change it, when the client knows it."""
    if not if_match(request)("v7"):
        raise PreconditionFailed
    return Response(status_code=204)


@pytest.fixture
async def client(resources: Resources) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the application; the blob is there."""
    await resources.blobs.put(KEY, CONTENT)
    async with in_process(create_app(resources, [router])) as client:
        yield client


@pytest.mark.parametrize("source", SOURCES)
async def test_the_whole_content(client: httpx2.AsyncClient, source: str) -> None:
    """200 with all that a cache and a browser need to know."""
    answer = await client.get(f"/picture/{source}")
    assert (answer.status_code, answer.content == CONTENT) == (200, True)
    names = ("etag", "last-modified", "accept-ranges", "content-length")
    assert {name: answer.headers[name] for name in names} == {
        "etag": TAG, "last-modified": DATE, "accept-ranges": "bytes", "content-length": str(SIZE),
    }  # fmt: skip
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"


@pytest.mark.parametrize("source", SOURCES)
async def test_head_has_the_headers_alone(client: httpx2.AsyncClient, source: str) -> None:
    """HEAD says what GET would, a Range notwithstanding, and sends nothing."""
    whole = await client.get(f"/picture/{source}")
    head = await client.head(f"/picture/{source}", headers={"range": "bytes=0-1"})
    assert (head.status_code, head.content) == (200, b"")
    drop = {"x-request-id"}
    assert {k: v for k, v in head.headers.items() if k not in drop} == {
        k: v for k, v in whole.headers.items() if k not in drop
    }


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if-none-match": TAG}, 304),
        ({"if-none-match": f"W/{TAG}"}, 304),
        ({"if-none-match": f'"a", {TAG} , "b"'}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": '"v8"'}, 200),
        ({"if-none-match": "v7"}, 200),
        ({"if-none-match": '"v'}, 200),
        ({"if-none-match": '"v8"', "if-modified-since": LATER}, 200),  # the tag decides
        ({"if-modified-since": DATE}, 304),
        ({"if-modified-since": LATER}, 304),
        ({"if-modified-since": EARLIER}, 200),
        ({"if-modified-since": "yesterday"}, 200),
        ({"if-modified-since": "Sat, 99 Nov 2026 05:44:06 GMT"}, 200),
        ({"if-modified-since": "Sat, 21 Nov 99999999999 05:44:06 GMT"}, 200),
        ({"if-none-match": TAG, "range": "bytes=0-1"}, 304),
    ],
)
@pytest.mark.parametrize("source", SOURCES)
async def test_a_client_that_has_it_is_told_so(
    client: httpx2.AsyncClient, source: str, headers: dict[str, str], status: int
) -> None:
    """304 without a body, but with the tag and the date."""
    answer = await client.get(f"/picture/{source}", headers=headers)
    assert answer.status_code == status
    if status == 304:
        assert (answer.content, answer.headers["etag"], "content-type" in answer.headers) == (
            b"",
            TAG,
            False,
        )


@pytest.mark.parametrize(
    ("value", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        (f"bytes={CHUNK_BYTES - 1}-{CHUNK_BYTES}", CHUNK_BYTES - 1, CHUNK_BYTES + 1),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
        (f"bytes=3-{SIZE + 5}", 3, SIZE),
        ("bytes=-7", SIZE - 7, SIZE),
        (f"bytes=-{SIZE + 5}", 0, SIZE),
        ("bytes=0-", 0, SIZE),
    ],
)
@pytest.mark.parametrize("source", SOURCES)
async def test_a_part(
    client: httpx2.AsyncClient, source: str, value: str, start: int, stop: int
) -> None:
    """206 with these bytes and no other."""
    answer = await client.get(f"/picture/{source}", headers={"range": value})
    assert (answer.status_code, answer.content == CONTENT[start:stop]) == (206, True)
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert answer.headers["content-length"] == str(stop - start)


@pytest.mark.parametrize("value", [f"bytes={SIZE}-", f"bytes={SIZE + 5}-{SIZE + 9}", "bytes=-0"])
@pytest.mark.parametrize("source", SOURCES)
async def test_a_part_that_does_not_exist(
    client: httpx2.AsyncClient, source: str, value: str
) -> None:
    """416 says how large the content is."""
    answer = await client.get(f"/picture/{source}", headers={"range": value})
    assert (answer.status_code, answer.json()["type"]) == (416, "/problems/range-not-satisfiable")
    assert answer.headers["content-range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if-match": TAG}, 200),
        ({"if-match": "*"}, 200),
        ({"if-match": '"v6"'}, 412),
        ({"if-match": f"W/{TAG}"}, 412),
        ({"if-match": "v7"}, 400),
        ({"if-match": '"v6"', "if-none-match": TAG}, 412),
        ({"if-match": TAG, "if-unmodified-since": EARLIER}, 200),  # the tag decides
        ({"if-unmodified-since": DATE}, 200),
        ({"if-unmodified-since": EARLIER}, 412),
        ({"if-unmodified-since": "yesterday"}, 200),
    ],
)
@pytest.mark.parametrize("source", SOURCES)
async def test_a_content_of_another_state_is_refused(
    client: httpx2.AsyncClient, source: str, headers: dict[str, str], status: int
) -> None:
    """412 for a client that goes on with another state than the present."""
    answer = await client.get(f"/picture/{source}", headers=headers)
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        (TAG, 206),
        (DATE, 206),
        ('"v6"', 200),
        (f"W/{TAG}", 200),
        (EARLIER, 200),
        (LATER, 200),
        ("?", 200),
    ],
)
async def test_if_range(client: httpx2.AsyncClient, condition: str, status: int) -> None:
    """The part of what the client has, else the whole of what there is now."""
    answer = await client.get(
        "/picture/file", headers={"range": "bytes=0-1", "if-range": condition}
    )
    assert answer.status_code == status


async def test_a_file_that_is_gone_is_not_found(
    client: httpx2.AsyncClient, resources: Resources
) -> None:
    """Deleted between the row and the read."""
    await resources.blobs.delete([KEY])
    answer = await client.get("/picture/file")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


async def test_records_carry_their_tag(client: httpx2.AsyncClient) -> None:
    """A record is answered with its tag, and not at all when the client has it."""
    answer = await client.get("/record")
    assert (answer.headers["etag"], answer.json()) == (TAG, {"id": 1})
    again = await client.get("/record", headers={"if-none-match": TAG})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (None, 204),
        (TAG, 204),
        ("*", 204),
        (f'"v6", {TAG}', 204),
        ('"v6"', 412),
        (f"W/{TAG}", 412),
        ("", 400),
        ("v7", 400),
        ("2", 400),
        (f"{TAG}, 2", 400),
        (f"*, {TAG}", 400),
        ('"2', 400),
        (f", {TAG},, ", 204),
    ],
)
async def test_if_match_guards_a_change(
    client: httpx2.AsyncClient, value: str | None, status: int
) -> None:
    """Only who knows the present state may change it.

    Weak tags know nothing for certain, and others are none.
    """
    answer = await client.put("/record", headers={} if value is None else {"if-match": value})
    assert answer.status_code == status
    if status == 400:
        assert "in quotes" in answer.json()["detail"]


async def test_a_condition_may_come_in_two_headers(client: httpx2.AsyncClient) -> None:
    """They are one list."""
    answer = await client.put("/record", headers=[("if-match", '"v6"'), ("if-match", TAG)])
    assert answer.status_code == 204


def test_if_match_judges_tags() -> None:
    """The judge that use cases are given."""
    judge = if_match(Request({"type": "http", "headers": [(b"if-match", b'"1", "2"')]}))
    assert [judge(tag) for tag in ("1", "2", "3")] == [True, True, False]


@pytest.mark.parametrize(
    "name", ["plain.jpg", "Тень.jpg", 'a"b\\c%d.jpg', "a\r\nSet-Cookie: x", "😀", "", "a;b=c'd"]
)
def test_file_names_survive_headers(name: str) -> None:
    """The UTF-8 form gives the name back; the ASCII one is harmless."""
    value = disposition(name).decode("ascii")
    assert "\r" not in value
    assert "\n" not in value
    assert unquote(value.partition("filename*=UTF-8''")[2]) == name
    assert value.count('"') == 2
