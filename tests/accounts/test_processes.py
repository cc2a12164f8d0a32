"""Sessions over real processes: killed amid a refresh, and started with another secret."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx2
import psycopg
import pytest

from tests.ports import free_port
from tests.waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET, OTHER = "s" * 64, "o" * 64
FORM = {"username": "ada@example.org", "password": "a quiet workshop"}


class Process:
    """`atelier api` as a process of its own."""

    def __init__(self, folder: Path, database_url: str, redis_url: str) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = {"ATELIER_DATABASE_URL": database_url, "ATELIER_REDIS_URL": redis_url}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, secret: str = SECRET) -> None:
        """Start it with this secret, and wait until it answers."""
        words = ["api", "--data", str(self.folder), "--port", str(self.port)]
        with (self.folder / "api.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "atelier", *words],
                env=os.environ | self.settings | {"ATELIER_SECRET": secret},
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        until(self.alive, (self.folder / "api.log").read_text)

    def alive(self) -> bool:
        """True if it answers."""
        with contextlib.suppress(httpx2.HTTPError):
            return httpx2.get(f"{self.url}/healthz").status_code == 200
        return False

    def kill(self) -> None:
        """With -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def post(self, path: str, **content: object) -> httpx2.Response:
        """One request."""
        return httpx2.post(f"{self.url}{path}", timeout=PATIENCE_SECONDS, **content)

    def sign_in(self) -> dict[str, str]:
        """A pair of a new session."""
        pair: dict[str, str] = self.post("/api/auth/token", data=FORM).raise_for_status().json()
        return pair

    def refresh(self, pair: dict[str, str]) -> httpx2.Response:
        """Exchange a refresh token."""
        return self.post("/api/auth/refresh", json={"refresh_token": pair["refresh_token"]})

    def me(self, pair: dict[str, str]) -> int:
        """The status of a request with an access token."""
        headers = {"Authorization": f"Bearer {pair['access_token']}"}
        return httpx2.get(f"{self.url}/api/users/me", headers=headers).status_code


@pytest.fixture
def process(tmp_path: Path, fresh_database_url: str, redis_url: str) -> Iterator[Process]:
    """One that runs, with an account."""
    process = Process(tmp_path, fresh_database_url, redis_url)
    process.start()
    body = {"email": FORM["username"], "password": FORM["password"]}
    process.post("/api/users", json=body).raise_for_status()
    yield process
    process.kill()


def test_a_new_secret_ends_every_session(process: Process) -> None:
    """Access tokens and refresh tokens alike, and for good where one was tried."""
    pair = process.sign_in()
    process.kill()
    process.start(OTHER)
    assert process.me(pair) == 401
    answer = process.refresh(pair)
    assert answer.json()["type"] == "/problems/dead-refresh-token"
    assert process.me(process.sign_in()) == 200
    process.kill()
    process.start(SECRET)
    assert process.refresh(pair).status_code == 401  # its use with another secret ended it


def test_a_restart_with_the_same_secret_ends_none(process: Process) -> None:
    """Nothing that a session needs is kept in a process."""
    pair = process.sign_in()
    process.kill()
    process.start()
    assert process.me(pair) == 200
    assert process.refresh(pair).status_code == 200


async def test_a_client_that_lost_the_answer_goes_on(process: Process) -> None:
    """The process is killed amid twenty refreshes; asked again, the next gives all one pair."""
    pair = process.sign_in()
    async with httpx2.AsyncClient(base_url=process.url, timeout=PATIENCE_SECONDS) as client:
        body = {"refresh_token": pair["refresh_token"]}
        asked = [
            asyncio.create_task(client.post("/api/auth/refresh", json=body)) for _ in range(20)
        ]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        process.kill()
        answers = await asyncio.gather(*asked, return_exceptions=True)
    got = [each.content for each in answers if isinstance(each, httpx2.Response)]
    assert got
    process.start()
    # On a busy machine a start takes longer than the grace, which this is not about.
    with psycopg.connect(process.settings["ATELIER_DATABASE_URL"]) as connection:
        connection.execute("UPDATE refresh_families SET rotated_at = now()")
    again = process.refresh(pair)
    assert again.status_code == 200
    assert {*got, again.content} == {again.content}
    assert process.me(again.json()) == 200
