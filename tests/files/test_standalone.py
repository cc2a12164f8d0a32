"""The slice alone, without the API around it: under an ASGI server and under a WSGI server."""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import httpx2
import psycopg
import pytest

from atelier import bootstrap
from atelier.auth import Tokens
from atelier.files import django_setup
from tests.files.conftest import account, environment
from tests.ports import free_port
from tests.waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from atelier.settings import Settings

WSGI_SERVER = """
import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIServer, make_server
from atelier.files.wsgi import application
class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
make_server("127.0.0.1", int(sys.argv[1]), application, Server).serve_forever()
"""
COMMANDS = {
    "asgi": [
        "-m",
        "uvicorn",
        "--log-level",
        "warning",
        "atelier.files.asgi:application",
        "--port",
    ],
    "wsgi": ["-c", WSGI_SERVER],
}
PROBLEM = "application/problem+json"


@contextmanager
def served(settings: Settings, kind: str, log: Path) -> Iterator[str]:
    """The address of the slice under that kind of server."""
    port = free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *COMMANDS[kind], str(port)],
            env=environment(settings),
            stdout=output,
            stderr=output,
        )
    try:
        url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            with suppress(httpx2.TransportError):
                httpx2.get(f"{url}/api/files/", timeout=PATIENCE_SECONDS)
                return True
            return False

        until(answers, log.read_text)
        yield url
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


@pytest.mark.parametrize("kind", COMMANDS)
def test_the_slice_runs_alone(settings: Settings, kind: str, tmp_path: Path) -> None:
    """The same tokens, limits and problems; upload, list, content, delete."""
    user_id, token = account(settings, f"{kind}@example.org")
    with (
        served(settings, kind, tmp_path / "log") as url,
        httpx2.Client(base_url=url, timeout=PATIENCE_SECONDS) as client,
    ):
        client.headers["Authorization"] = f"Bearer {token}"
        content = bytes(range(256)) * 10_000
        answer = client.post("/api/upload/", files={"file": ("a.bin", content)})
        assert answer.status_code == 201, answer.text
        record = answer.json()
        assert client.get("/files").json()[0]["id"] == record["id"]
        assert client.get(record["file"]).content == content
        assert (
            client.get(record["file"], headers={"Range": "bytes=300-302"}).content
            == content[300:303]
        )
        assert client.head(record["file"]).headers["content-length"] == str(len(content))
        too_large = client.post(
            "/api/upload/", files={"file": ("a", bytes(settings.body_limit + 1))}
        )
        assert (too_large.status_code, too_large.headers["content-type"]) == (413, PROBLEM)
        for path, headers in (
            ("/api/files/", {"Authorization": "Bearer x"}),
            ("/api/files/", {"Authorization": ""}),
        ):
            anonymous = client.get(path, headers=headers)
            assert (anonymous.status_code, anonymous.headers["content-type"]) == (401, PROBLEM)
            assert anonymous.headers["www-authenticate"].startswith("Bearer")
        unknown = client.get("/nothing/here")
        assert (unknown.status_code, unknown.headers["content-type"]) == (404, PROBLEM)
        for path in (unknown.json()["type"], f"{unknown.json()['type']}/"):
            page = httpx2.get(f"{url}{path}", headers={"Accept": "text/html"})
            assert page.status_code == 200
            assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert client.get("/problems/nothing").json()["type"] == unknown.json()["type"]
        assert client.post(unknown.json()["type"]).headers["allow"] == "GET, HEAD"
        assert client.delete(record["url"]).status_code == 204
        assert client.get(record["url"]).status_code == 404
    query = "SELECT actor, space_id FROM outbox WHERE subject = %s"
    with psycopg.connect(bootstrap.database_url(settings)) as connection:
        told = connection.execute(query, [f"files/{record['id']}"]).fetchall()
    assert told == [(f"users/{user_id}", user_id)] * 2


async def test_alone_it_verifies_tokens_itself(settings: Settings) -> None:
    """Valid, none, of an ended session, of a session that is none: as the API would answer."""
    django_setup.configure(settings)
    application = importlib.reload(importlib.import_module("atelier.files.asgi")).application
    user, token = account(settings, "alone@example.org")
    odd = Tokens(bootstrap.secret(settings)).issue(user, "not-a-uuid")
    ended = Tokens(bootstrap.secret(settings)).issue(user, str(uuid.uuid4()))
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(application), base_url="http://alone"
    ) as client:
        for given, status in ((token, 200), (odd, 401), (ended, 401), ("", 401)):
            answer = await client.get("/api/files/", headers={"Authorization": f"Bearer {given}"})
            assert answer.status_code == status, given
        too_large = {"file": ("a", bytes(settings.body_limit + 1))}
        headers = {"Authorization": f"Bearer {token}"}
        assert (
            await client.post("/api/upload/", files=too_large, headers=headers)
        ).status_code == 413
        assert (await client.get("/nowhere", headers=headers)).json()[
            "type"
        ] == "/problems/not-found"
    await asyncio.to_thread(application.close)


@pytest.mark.parametrize(("host", "status"), [("files.example:80", 401), ("evil.example", 421)])
async def test_alone_it_is_called_by_its_names(settings: Settings, host: str, status: int) -> None:
    """With `allowed_hosts` set another name is answered 421, as by the API."""
    django_setup.configure(settings.model_copy(update={"allowed_hosts": ("files.example",)}))
    application = importlib.reload(importlib.import_module("atelier.files.asgi")).application
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(application), base_url="http://alone"
    ) as client:
        answer = await client.get("/api/files/", headers={"Host": host})
        assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    django_setup.configure(settings)
    await asyncio.to_thread(application.close)
