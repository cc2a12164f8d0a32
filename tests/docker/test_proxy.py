"""The containers' proxy: a real nginx with its own configuration before an API in this process."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest
from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from atelier.http.app import create_app
from atelier.http.conditional import picture_response
from atelier.http.resources import Res
from atelier.http.sendfile import content_of
from atelier.settings import Settings
from tests.http.support import make_resources, served
from tests.ports import free_port, free_ports
from tests.waiting import PATIENCE_SECONDS, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
PROXY = Path(__file__).parents[2] / "docker" / "proxy"
BODY_LIMIT = 64 * 1024
CONTENT = bytes(range(256)) * 2000
KEY = "images/abc/picture.jpg"
TAG, OTHER = '"v7"', '"v6"'
DATE, EARLIER, LATER = (f"Sat, 21 Nov 2026 05:44:{second} GMT" for second in ("06", "05", "07"))
MODIFIED = datetime(2026, 11, 21, 5, 44, 6, tzinfo=UTC)
NAMES = (
    *(
        "etag",
        "last-modified",
        "content-type",
        "content-length",
        "content-range",
        "content-disposition",
    ),
    *("accept-ranges", "cache-control", "content-security-policy", "x-content-type-options"),
)
REQUESTS: tuple[dict[str, str], ...] = (
    {},
    {"range": "bytes=0-99"},
    {"range": "bytes=100-"},
    {"range": "bytes=-7"},
    {"range": f"bytes={len(CONTENT)}-"},
    {"range": "bytes=-0"},
    {"range": "bytes=9-3"},
    {"range": "bytes=0-1,4-5"},
    {"range": "lines=1-2"},
    {"range": "bytes=rubbish"},
    {"if-none-match": TAG},
    {"if-none-match": OTHER},
    {"if-none-match": "*"},
    {"if-none-match": OTHER, "range": "bytes=0-9"},
    {"if-modified-since": DATE},
    {"if-modified-since": EARLIER},
    {"if-modified-since": "rubbish"},
    {"if-match": TAG},
    {"if-match": OTHER},
    {"if-unmodified-since": EARLIER},
    {"if-range": TAG, "range": "bytes=5-9"},
    {"if-range": OTHER, "range": "bytes=5-9"},
    {"if-range": DATE, "range": "bytes=5-9"},
    {"if-range": LATER, "range": "bytes=5-9"},
)
router = APIRouter()
pytestmark = pytest.mark.skipif(NGINX is None and not os.environ.get("CI"), reason="needs nginx")


@router.get("/{way}")
async def picture(request: Request, res: Res, way: str) -> Response:
    """The picture, sent by the API or left to the proxy."""
    content = content_of(res.blobs, KEY, len(CONTENT), "/_blobs/" if way == "proxied" else None)
    name = 'Тень "на" стене.jpg'
    return picture_response(
        request, content, media_type="image/jpeg", etag="v7", modified=MODIFIED, filename=name
    )


READ = asyncio.Event()  # the client has the beginning of the stream


@router.get("/api/events")
async def events() -> StreamingResponse:
    """A stream that goes on once its beginning was read."""

    async def stream() -> AsyncIterator[bytes]:
        yield b"id: 1\n\n"
        await READ.wait()
        yield b"id: 2\n\n"

    return StreamingResponse(stream(), media_type="text/event-stream")


@router.post("/said")
async def said(request: Request) -> Response:
    """The client as the API sees it, and how much it sent."""
    body = await request.body()
    names = ("x-forwarded-for", "x-forwarded-proto", "forwarded", "host")
    return Response(
        " ".join([str(len(body)), *(request.headers.get(name, "-") for name in names)])
    )


@pytest.fixture(scope="module")
async def proxy(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The address of a proxy before an API with one stored picture."""
    folder = tmp_path_factory.mktemp("proxy")
    resources = make_resources(
        Settings(data=folder, blobs=str(folder / "blobs"), body_limit=BODY_LIMIT)
    )
    await resources.blobs.put(KEY, CONTENT)
    async with served(create_app(resources, [router])) as api, nginx(folder, api) as port:
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def nginx(folder: Path, api: int) -> AsyncIterator[int]:
    """Start it as its container does, its places and ports moved to where a test may have them."""
    ports = free_ports(4)
    places = {
        "/etc/atelier-proxy": "conf",
        "/tmp/nginx": "made",  # noqa: S108 - the container's
        "/spool": "spool",
        "/tls/": "tls/",
        "/blobs/": "blobs/",
    }
    moved = {place: f"{folder}/{name}" for place, name in places.items()}
    moved |= dict(zip(("8080", "8443", "50051", "8081"), map(str, ports), strict=True))
    for name in ("conf", "spool"):
        (folder / name).mkdir()
    for source in PROXY.iterdir():
        text = source.read_text()
        for old, new in moved.items():
            text = text.replace(old, new)
        (folder / "conf" / source.name).write_text(
            text.replace("daemon off;", "daemon off; master_process off;")
        )
    path = f"{Path(NGINX or '').parent}:{os.environ['PATH']}"
    settings = {
        "PATH": path,
        "ATELIER_PROXY_API": f"127.0.0.1:{api}",
        "ATELIER_BODY_LIMIT": str(BODY_LIMIT),
    }
    process = subprocess.Popen(["sh", folder / "conf" / "start.sh"], env=settings)
    try:

        def listens() -> bool:
            with socket.socket() as probe:
                return process.poll() is not None or probe.connect_ex(("127.0.0.1", ports[0])) == 0

        await eventually(listens)
        yield ports[0]
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)


@pytest.mark.parametrize("headers", REQUESTS, ids=str)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_nginx_sends_is_what_the_api_would_send(
    proxy: str, method: str, headers: dict[str, str]
) -> None:
    """Status, bytes and headers are the same from API and proxy, for every condition and range."""
    async with httpx2.AsyncClient(base_url=proxy, timeout=PATIENCE_SECONDS) as client:
        ours = await client.request(method, "/direct", headers=headers)
        theirs = await client.request(method, "/proxied", headers=headers)
    assert (theirs.status_code, theirs.content) == (ours.status_code, ours.content)
    if theirs.status_code == 206:
        ours.headers.pop("accept-ranges")  # nginx leaves it out where Content-Range says as much
        theirs.headers.pop("accept-ranges", None)
    assert {name: theirs.headers.get_list(name) for name in NAMES} == {
        name: ours.headers.get_list(name) for name in NAMES
    }
    assert "x-accel-redirect" not in theirs.headers


async def test_nginx_reads_the_file_itself(proxy: str) -> None:
    """The API's answer has no bytes in it.

    Without an nginx that knows the folder there would be none.
    """
    async with httpx2.AsyncClient(base_url=proxy, timeout=PATIENCE_SECONDS) as client:
        assert (await client.get("/proxied")).content == CONTENT


async def test_stored_bytes_have_no_address_of_their_own(proxy: str) -> None:
    """No blob is read without asking the API."""
    async with httpx2.AsyncClient(base_url=proxy, timeout=PATIENCE_SECONDS) as client:
        for path in (f"/_blobs/{KEY}", f"/%5Fblobs/{KEY}", f"/x/../_blobs/{KEY}"):
            assert (await client.get(path)).status_code == 404


@pytest.mark.parametrize(
    "path", ["/metrics", "/metrics/", "/metric%73", "/metrics%2F", "/metrics/?x=1"]
)
async def test_metrics_are_not_public(proxy: str, path: str) -> None:
    """However the address is written that the API takes for that of its metrics."""
    async with httpx2.AsyncClient(base_url=proxy, timeout=PATIENCE_SECONDS) as client:
        assert (await client.get(path)).status_code == 404


async def test_the_documentation_passes(proxy: str) -> None:
    """The page of the API, what it loads, and the pages of problems, with their policies."""
    async with httpx2.AsyncClient(base_url=proxy) as client:
        for path in ("/docs", "/docs/", "/docs/start.js", "/docs/swagger-ui.css", "/openapi.json"):
            assert (await client.get(path)).status_code == 200, path
        assert "blob:" in (await client.get("/docs")).headers["content-security-policy"]
        page = await client.get("/problems/no-file", headers={"accept": "text/html"})
        assert page.status_code == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        unknown = await client.get("/problems/nothing")
        assert (unknown.status_code, unknown.json()["type"]) == (404, "/problems/not-found")


async def test_every_type_that_the_proxy_answers_with_has_a_page(proxy: str) -> None:
    """The proxy's own problem documents lead somewhere, too."""
    types = re.findall(r'"type":"(.*?)"', (PROXY / "nginx.conf").read_text())
    assert types
    async with httpx2.AsyncClient(base_url=proxy) as client:
        assert [type_ for type_ in types if (await client.get(type_)).status_code != 200] == []


async def test_the_client_cannot_say_who_it_is(proxy: str) -> None:
    """The API hears the address that the proxy saw, not the one that the client claims."""
    lies = {"x-forwarded-for": "8.8.8.8", "x-forwarded-proto": "https", "forwarded": "for=8.8.8.8"}
    async with httpx2.AsyncClient(base_url=proxy, timeout=PATIENCE_SECONDS) as client:
        answer = await client.post("/said", content=b"x" * 40_000, headers=lies)
    assert answer.text == f"40000 127.0.0.1 http - {proxy.removeprefix('http://')}"


@pytest.mark.parametrize("path", ["/api/events", "/api/events/"])
async def test_the_stream_of_events_is_not_held_back(proxy: str, path: str) -> None:
    """Each event passes when it is sent, not when the answer ends."""
    READ.clear()
    async with (
        httpx2.AsyncClient(base_url=proxy, timeout=PATIENCE_SECONDS) as client,
        client.stream("GET", path) as answer,
    ):
        pieces = answer.aiter_bytes()
        assert await anext(pieces) == b"id: 1\n\n"
        READ.set()
        assert b"".join([piece async for piece in pieces]) == b"id: 2\n\n"


async def test_a_body_over_the_limit_is_a_problem(proxy: str) -> None:
    """API and proxy have the same limit: a body of that size passes, one byte more does not."""
    async with httpx2.AsyncClient(base_url=proxy, timeout=PATIENCE_SECONDS) as client:
        assert (await client.post("/said", content=b"x" * BODY_LIMIT)).status_code == 200
        answer = await client.post("/said", content=b"x" * (BODY_LIMIT + 1))
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/too-large"


async def test_an_api_that_is_away_is_a_problem(tmp_path: Path) -> None:
    """While the API is away, the proxy answers 503 with Retry-After and the same document."""
    away = free_port()
    async with (
        nginx(tmp_path, away) as port,
        httpx2.AsyncClient(timeout=PATIENCE_SECONDS) as client,
    ):
        answer = await client.get(f"http://127.0.0.1:{port}/api/images")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert (answer.headers["content-type"], answer.json()["status"]) == (
        "application/problem+json",
        503,
    )
