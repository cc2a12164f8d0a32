"""Uploads are bounded: too many are refused before they are read, and reads go on meanwhile."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx2
import pytest

from atelier.auth import Tokens
from atelier.files import django_setup
from atelier.http.admission import AT_WORK, Uploads
from atelier.observe.exposition import REGISTRY
from atelier.roles import api
from atelier.settings import Settings
from tests.http.support import served
from tests.tasks.conftest import picture
from tests.waiting import PATIENCE_SECONDS, eventually, patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LIMIT = 3
SECRET = "s" * 32
BOUNDARY = "Content-Type: multipart/form-data; boundary=b"
UPLOADS = (*api.UPLOADS, "/api/upload", "/upload")
PARTS = {"/api/images": "file", "/api/tasks": "image", "/api/upload/": "file"}
USER = """
    WITH made AS (
        INSERT INTO users (email, email_folded, password_hash, sequence, created_at)
        VALUES ($1, $1, '', 1, now()) RETURNING id
    ) INSERT INTO refresh_families (id, user_id, token_sha256, created_at, expires_at)
    SELECT $2, id, '', now(), now() + interval '1 day' FROM made RETURNING user_id
"""


class Api(NamedTuple):
    """A served API, with a user's client of it."""

    port: int
    token: str
    client: httpx2.AsyncClient


@pytest.fixture
async def served_api(tmp_path: Path, database_url: str, redis_url: str) -> AsyncIterator[Api]:
    """The whole API on a socket, with room for three uploads."""
    settings = Settings(
        data=tmp_path,
        database_url=database_url,
        redis_url=redis_url,
        secret=SECRET,
        upload_limit=LIMIT,
    )
    app = api.build(settings)
    async with served(app) as port:
        session = uuid.uuid4()
        row = await app.state.resources.database.fetchrow(USER, f"{session}@example.org", session)
        token = Tokens(SECRET).issue(row["user_id"], str(session))
        async with httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=PATIENCE_SECONDS,
        ) as client:
            yield Api(port, token, client)
    django_setup.disconnect()


class Slow:
    """An upload over a socket of its own whose body comes in two halves."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def begin(self, api: Api, path: str) -> None:
        """Send the head, and the body without its last line."""
        part = f'--b\r\nContent-Disposition: form-data; name="{PARTS[path]}"; filename="a.png"'
        fields = '\r\n--b\r\nContent-Disposition: form-data; name="meta"\r\n\r\n'
        body = f"{part}\r\n\r\n".encode() + picture()
        body += fields.encode() if path == "/api/tasks" else b""
        self.rest = b"\r\n--b--\r\n"
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {api.token}\r\n"
            f"{BOUNDARY}\r\nConnection: close\r\n"
            f"Content-Length: {len(body) + len(self.rest)}\r\n\r\n"
        )
        self.writer.write(head.encode() + body)
        await self.writer.drain()

    async def end(self) -> int:
        """Send the rest; the status of the answer."""
        self.writer.write(self.rest)
        async with patience():
            answer = await self.reader.read()
        return int(answer.split(b" ", 2)[1])


@asynccontextmanager
async def slowly(api: Api, path: str) -> AsyncIterator[Slow]:
    """An upload that has begun and takes its time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    slow = Slow(reader, writer)
    await slow.begin(api, path)
    yield slow
    writer.close()


async def post(api: Api, path: str, content: bytes) -> httpx2.Response:
    """A whole upload at once."""
    data: dict[str, Any] = {"meta": ""} if path == "/api/tasks" else {}
    files = {PARTS[path]: ("a.png", content, "image/png")}
    return await api.client.post(path, files=files, data=data)


def metric(name: str) -> float:
    """What the process exports."""
    value = REGISTRY.get_sample_value(name)
    assert value is not None
    return value


def held() -> float:
    """Uploads that have a place."""
    return metric("atelier_uploads_in_progress")


async def test_reads_go_on_while_uploads_are_held_open(served_api: Api) -> None:
    """Every kind of upload takes a place; one too many is told when to come again, at any edge.

    What was acknowledged is there.
    """
    async with (
        slowly(served_api, "/api/images") as image,
        slowly(served_api, "/api/tasks") as task,
        slowly(served_api, "/api/upload/") as file,
    ):
        await eventually(lambda: held() == LIMIT)
        before = metric("atelier_uploads_refused_total")
        for path in PARTS:
            refused = await post(served_api, path, picture())
            assert (refused.status_code, refused.json()["type"]) == (503, "/problems/unavailable")
            assert int(refused.headers["retry-after"]) > 0
        assert metric("atelier_uploads_refused_total") == before + len(PARTS)
        for path in ("/api/images", "/api/tasks", "/api/files/"):
            listed = await served_api.client.get(path)
            assert (listed.status_code, listed.json()) == (200, [])
        assert await task.end() == await file.end() == 201
        assert await image.end() in (201, 415)  # no decoder has a look at so small a picture
    await eventually(lambda: held() == 0)
    assert len((await served_api.client.get("/api/tasks")).json()) == 1
    assert len((await served_api.client.get("/api/files/")).json()) == 1


async def test_a_client_that_goes_away_gives_its_place_back(served_api: Api) -> None:
    """As does one that is refused for another reason: places are not lost."""
    for path in PARTS:
        async with slowly(served_api, path):
            await eventually(lambda: held() == 1)
        await eventually(lambda: held() == 0)
        refused = await post(served_api, path, b"")
        assert refused.status_code in (400, 415, 422)
        assert held() == 0


async def test_a_few_of_those_received_are_stored_at_once() -> None:
    """However many are admitted, so that some connections and threads are left for reads."""
    uploads = Uploads(10 * AT_WORK)
    at_work = most = 0

    async def upload() -> None:
        nonlocal at_work, most
        with uploads.admitted():
            async with uploads.working:
                at_work += 1
                most = max(most, at_work)
                await asyncio.sleep(0)
                at_work -= 1

    await asyncio.gather(*(upload() for _ in range(10 * AT_WORK)))
    assert most == AT_WORK


async def test_when_full_uploads_are_refused_ahead_of_the_framework(served_api: Api) -> None:
    """The same answer at every path of an upload, with one's own request id; others go on.

    Without a token that is known it is a 401 as ever.
    """
    async with (
        slowly(served_api, "/api/images"),
        slowly(served_api, "/api/tasks"),
        slowly(served_api, "/api/upload/"),
    ):
        await eventually(lambda: held() == LIMIT)
        before = metric("atelier_uploads_refused_total")
        for path in UPLOADS:
            for end in ("", "/"):
                headers = {"X-Request-ID": f"request{len(path)}"}
                answer = await served_api.client.post(f"{path}{end}", headers=headers)
                assert answer.status_code == 503
                assert answer.headers["retry-after"] == "2"
                assert answer.headers["x-request-id"] == headers["X-Request-ID"]
                assert answer.json()["type"] == "/problems/unavailable"
        assert metric("atelier_uploads_refused_total") == before + 2 * len(UPLOADS)
        # Ahead of who judges the space and the query: here nobody is told that there is no such.
        for path in UPLOADS:
            nowhere = await served_api.client.post(f"{path}?space={2**62}")
            odd = await served_api.client.post(f"{path}?nonsense=1")
            assert (nowhere.status_code, odd.status_code) == (503, 422), path
        for token in ("", "Bearer forged"):
            headers = {"Authorization": token}
            answer = await served_api.client.post("/api/images", headers=headers)
            assert answer.status_code == 401
        assert (await served_api.client.get("/api/images")).status_code == 200
        taken = await served_api.client.post("/api/books", json={})
        assert taken.status_code == 422


def test_paths_of_uploads_are_those_of_the_document(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    """Every operation that takes a multipart body is refused early, and no other."""
    settings = Settings(
        data=tmp_path, database_url=database_url, redis_url=redis_url, secret=SECRET
    )
    document = api.build(settings).openapi()
    forms = {
        path.rstrip("/")
        for path, item in document["paths"].items()
        if "multipart/form-data" in item.get("post", {}).get("requestBody", {}).get("content", {})
    }
    assert forms == set(UPLOADS)
