"""The outermost layer: ids, slashes, HEAD, headers, the body limit, metrics and the access log."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from fastapi import APIRouter, Request, Response

from atelier.http.app import create_app
from atelier.http.json import json_response
from atelier.http.middleware import Elsewhere
from atelier.observe.logs import request_id
from tests.http.support import BODY_LIMIT, converse, in_process, served
from tests.waiting import patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2
    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send

    from atelier.http.resources import Resources

router = APIRouter()
SHARED = json_response({"shared": True})
gone = asyncio.Event()


@router.get("/id")
async def id_of(q: str = "") -> dict[str, str]:
    """The id that a log line would have."""
    return {"id": request_id.get()}


@router.get("/things/{number}")
async def thing(number: int) -> dict[str, int]:
    """A route with a parameter."""
    return {"number": number}


@router.get("/shared")
async def shared() -> Response:
    """One response object for all requests."""
    return SHARED


@router.post("/count")
async def count(request: Request, plus: int = 0) -> dict[str, int]:
    """Read the body in pieces."""
    return {"bytes": sum([len(chunk) async for chunk in request.stream()]) + plus}


@router.post("/unread")
async def unread() -> dict[str, bool]:
    """Answer without a look at the body."""
    return {"read": False}


@router.post("/wait")
async def wait(request: Request) -> dict[str, int]:
    """Read a body that its client breaks off."""
    try:
        return {"bytes": len(await request.body())}
    finally:
        gone.set()


@router.get("/half")
async def half() -> Response:
    """Fail in the middle of an answer."""

    class Half(Response):
        async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
            await send(
                {
                    "type": "http.response.start",
                    "status": 200,
                    "headers": [(b"content-length", b"100")],
                }
            )
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise RuntimeError("in the middle")

    return Half()


@router.post("/api/auth/thing")
async def token() -> dict[str, str]:
    """An answer that must not be stored."""
    return {}


async def foreign(scope: Scope, receive: Receive, send: Send) -> None:
    """Another application: says what it was asked, and has headers like ours."""
    body = json.dumps([scope["method"], scope["path"]]).encode()
    while (await receive()).get("more_body"):
        pass
    headers = [
        (b"X-Content-Type-Options", b"nosniff"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


@pytest.fixture
def app(resources: Resources) -> FastAPI:
    """The application with another beside it."""
    return create_app(resources, [router], elsewhere=Elsewhere(foreign, ("/files", "/api/files")))


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the application."""
    async with in_process(app) as client:
        yield client


@pytest.mark.parametrize("given", ["abc-123", "a" * 64, "Root=1-67/x+y:z_."])
async def test_a_sane_request_id_is_kept(client: httpx2.AsyncClient, given: str) -> None:
    """The client's id is echoed, and is on the log lines of its request."""
    answer = await client.get("/id", headers={"X-Request-ID": given})
    assert (answer.headers["x-request-id"], answer.json()["id"]) == (given, given)
    assert request_id.get() == "-"


@pytest.mark.parametrize("given", [None, "", "a" * 65, "a b", "a\tb", "ü", "<script>", "a,b"])
async def test_any_other_request_gets_an_id(client: httpx2.AsyncClient, given: str | None) -> None:
    """Rubbish is replaced by an id of ours, another one each time."""
    headers = {} if given is None else {"X-Request-ID": given.encode()}
    answers = [await client.get("/id", headers=headers) for _ in range(2)]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 2
    assert ids == {answer.json()["id"] for answer in answers}
    assert given not in ids


async def test_errors_carry_the_id_too(client: httpx2.AsyncClient) -> None:
    """Those of unknown paths as well."""
    assert (await client.get("/no", headers={"X-Request-ID": "mine"})).headers[
        "x-request-id"
    ] == "mine"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/things/7", 200),
        ("/things/7/", 200),
        ("/things/7//", 404),
        ("/things//7", 404),
        ("/", 307),
        ("//", 307),
    ],
)
async def test_one_trailing_slash_does_not_count(
    client: httpx2.AsyncClient, path: str, status: int
) -> None:
    """With or without: the same answer, and never a redirect."""
    assert (await client.get(path, follow_redirects=False)).status_code == status


async def test_a_slash_keeps_body_and_query(client: httpx2.AsyncClient) -> None:
    """A POST with a slash arrives whole."""
    assert (await client.post("/count/?plus=1", content=b"12345")).json() == {"bytes": 6}


@pytest.mark.parametrize(
    "path",
    ["/%ff", "/things/%00", "/id?q=%00", "/id?q=%ff", "/id?%c3", "/id?q=%ed%a0%80", "/%2e%2e/%00"],
)
async def test_addresses_must_be_text(client: httpx2.AsyncClient, path: str) -> None:
    """A NUL or broken UTF-8 in path or query is 400."""
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/malformed")


@pytest.mark.parametrize("path", ["/id?q=%D0%96%20%25", "/id?q=100%", "/id?q=%zz", "/id?q=%"])
async def test_odd_addresses_are_fine(client: httpx2.AsyncClient, path: str) -> None:
    """Percent signs that encode text, or nothing, do no harm."""
    assert (await client.get(path)).status_code == 200


async def test_head_is_answered_wherever_get_is(client: httpx2.AsyncClient) -> None:
    """The headers of GET and no body; a path without GET has no HEAD either."""
    get, head = await client.get("/things/7"), await client.head("/things/7")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]
    assert (await client.head("/count")).status_code == 405
    assert (await client.head("/no")).content == b""


async def test_head_on_the_wire(app: FastAPI) -> None:
    """A server accepts it: the length of a body that is not sent, and the connection goes on."""
    async with served(app) as port:
        request = (
            b"HEAD /things/7 HTTP/1.1\r\nHost: x\r\n\r\nGET /things/8 HTTP/1.1\r\nHost: "
            b"x\r\nConnection: close\r\n\r\n"
        )
        answer = await converse(port, request)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert b'{"number":7}' not in answer
    assert answer.endswith(b'{"number":8}')


async def test_a_shared_response_stays_as_it_was(client: httpx2.AsyncClient) -> None:
    """Our headers are added to a copy."""
    answers = [await client.get("/shared") for _ in range(3)]
    assert [len(answer.headers.get_list("x-request-id")) for answer in answers] == [1, 1, 1]
    assert [len(answer.headers.get_list("x-content-type-options")) for answer in answers] == [
        1,
        1,
        1,
    ]


async def test_security_headers(client: httpx2.AsyncClient) -> None:
    """Nothing is sniffed, and answers of the token endpoints are not stored."""
    assert (await client.get("/no")).headers["x-content-type-options"] == "nosniff"
    assert (await client.post("/api/auth/thing")).headers.get_list("cache-control") == ["no-store"]


@pytest.mark.parametrize("path", ["/files", "/files/", "/files/1", "/api/files/1/"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_another_application_has_its_prefixes(
    client: httpx2.AsyncClient, method: str, path: str
) -> None:
    """It gets its requests as they came, and they leave with our headers, each once."""
    answer = await client.request(method, path)
    assert answer.json() == [method, path]
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
    assert "x-request-id" in answer.headers


@pytest.mark.parametrize("path", ["/filesystem", "/file", "/api/filesx"])
async def test_a_prefix_ends_at_a_slash(client: httpx2.AsyncClient, path: str) -> None:
    """Paths that only begin alike are ours."""
    assert (await client.get(path)).status_code == 404


async def test_another_application_gets_head_itself(client: httpx2.AsyncClient) -> None:
    """HEAD is not made a GET for it."""
    assert (await client.head("/files/1")).headers["content-length"] == str(
        len('["HEAD", "/files/1"]')
    )


@pytest.mark.parametrize("path", ["/count", "/unread", "/files/x"])
async def test_a_body_at_the_limit_is_taken(app: FastAPI, path: str) -> None:
    """Not a byte less is promised."""
    async with served(app) as port:
        answer = await converse(port, post(path, BODY_LIMIT, close=True), b"x" * BODY_LIMIT)
    assert answer.startswith(b"HTTP/1.1 200")


def post(path: str, length: int, *, close: bool = False) -> bytes:
    """The head of a POST."""
    end = "Connection: close\r\n" if close else ""
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{end}\r\n".encode()


@pytest.mark.parametrize("path", ["/count", "/unread", "/files/x", "/no"])
async def test_a_length_over_the_limit_is_refused_at_once(app: FastAPI, path: str) -> None:
    """413 comes before a single byte of the body is sent."""
    async with served(app) as port:
        answer = await converse(port, post(path, BODY_LIMIT + 1), end=True)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"/problems/too-large" in answer
    assert b"connection: close" in answer


async def test_a_waiting_client_is_not_told_to_continue(app: FastAPI) -> None:
    """`Expect: 100-continue` with too large a body gets the refusal alone."""
    head = post("/count", BODY_LIMIT + 1).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
    async with served(app) as port:
        answer = await converse(port, head, end=True)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"100 Continue" not in answer


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("path", ["/count", "/files/x"])
async def test_a_client_that_sends_it_all_sees_the_answer(
    app: FastAPI, path: str, *, chunked: bool
) -> None:
    """A client that reads only after sending many times the limit finds no reset connection."""
    total = 200 * BODY_LIMIT
    head = post(path, total)
    body = b"x" * total
    if chunked:
        head = head.replace(f"Content-Length: {total}".encode(), b"Transfer-Encoding: chunked")
        body = b"".join(
            b"10000\r\n" + body[at : at + 0x10000] + b"\r\n" for at in range(0, total, 0x10000)
        )
        body += b"0\r\n\r\n"
    async with served(app) as port:
        answer = await converse(port, head, body)
    assert answer.startswith(b"HTTP/1.1 413")
    assert answer.endswith(b"}")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == 413


async def test_a_chunked_body_is_refused_when_the_count_is_over(app: FastAPI) -> None:
    """Without a length, the answer comes once the limit is passed, though the client goes on."""
    head = b"POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with served(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head + b"20000\r\n" + b"x" * 0x20000 + b"\r\n")
        async with patience():
            first = await reader.readuntil(b"\r\n")
        writer.close()
    assert first.startswith(b"HTTP/1.1 413 ")


async def test_a_client_that_goes_away_is_no_error(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    """A body broken off leaves one access line with 499 and no traceback."""
    gone.clear()
    with caplog.at_level(logging.INFO):
        async with served(app) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(post("/wait", 100) + b"half")
            await writer.drain()
            writer.close()
            async with patience():
                await gone.wait()
    assert not [
        record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR
    ]
    assert " POST /wait 499 " in next(
        r.getMessage() for r in caplog.records if r.name == "atelier.access"
    )


async def test_half_an_answer_does_not_look_whole(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    """An error after the first bytes cuts the connection and is in the log once."""
    async with served(app) as port:
        answer = await converse(port, b"GET /half HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.endswith(b"\r\n\r\nhalf")
    assert b"content-length: 100" in answer
    assert [record.levelname for record in caplog.records if record.exc_info] == ["ERROR"]


async def test_requests_are_counted_by_route(app: FastAPI, client: httpx2.AsyncClient) -> None:
    """Templates, not paths; what matches nothing shares one name."""
    for path in ("/things/1", "/things/2", "/things/x", "/made/up", "/files/3"):
        await client.get(path)
    await client.head("/things/3")
    text = (await client.get("/metrics")).text
    assert (
        'atelier_http_requests_total{method="GET",route="/things/{number}",status="200"} 2.0'
        in text
    )
    assert (
        'atelier_http_requests_total{method="GET",route="/things/{number}",status="422"} 1.0'
        in text
    )
    assert (
        'atelier_http_requests_total{method="HEAD",route="/things/{number}",status="200"} 1.0'
        in text
    )
    assert 'atelier_http_requests_total{method="GET",route="(unmatched)",status="404"} 1.0' in text
    assert 'atelier_http_requests_total{method="GET",route="/files",status="200"} 1.0' in text
    assert 'atelier_http_request_seconds_count{method="GET",route="/things/{number}"} 3.0' in text
    assert "made" not in text


async def test_the_access_log(
    client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """One line a request: client, user, method, path as it was sent, status, time.

    No query, no health checks.
    """
    with caplog.at_level(logging.INFO, "atelier.access"):
        await client.get("/things/7%0Ax?secret=1")
        await client.get("/healthz")
    [line] = [record.getMessage() for record in caplog.records if record.name == "atelier.access"]
    assert line.startswith("127.0.0.1 - GET /things/7%0Ax 422 ")
    assert line.endswith(" ms")


async def test_what_is_not_http_passes(resources: Resources) -> None:
    """The lifespan reaches the application."""
    seen = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        seen.append("up")
        yield
        seen.append("down")

    async with served(create_app(resources, [router], lifespan)):
        assert seen == ["up"]
    assert seen == ["up", "down"]
