"""The accounts part of the API on a real database and Valkey, in process and over a socket."""

from __future__ import annotations

import asyncio
import socket
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import uvicorn
from argon2.profiles import CHEAPEST
from pydantic import SecretStr

from atelier.accounts import sealing, sessions
from atelier.accounts.families import Credentials
from atelier.accounts.requests import lives
from atelier.accounts.routes import router
from atelier.accounts.session_routes import router as sign_in
from atelier.auth import Authenticator, Passwords, Tokens
from atelier.blobs.directory import DirectoryBlobs
from atelier.cache import Cache
from atelier.database import Database
from atelier.http.admission import Uploads
from atelier.http.app import create_app
from atelier.http.ratelimit import Limits
from atelier.http.resources import Resources
from atelier.queue import Lanes, Queue
from atelier.settings import Settings
from atelier.spaces import teams
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from fastapi import FastAPI
    from redis.asyncio import Redis

SECRET = "a secret of the tests, long enough to sign"


@pytest.fixture
async def resources(database_url: str, redis: Redis, tmp_path: Path) -> AsyncIterator[Resources]:
    """Everything an API process has, with cheap password hashes."""
    settings = Settings(data=tmp_path, secret=SecretStr(SECRET))
    database = Database(database_url)
    tokens = Tokens(SECRET)
    await sealing.seal(database, partial(sessions.keyed, tokens), lives(settings).whole)
    made = Resources(
        settings=settings,
        database=database,
        redis=redis,
        blobs=DirectoryBlobs(tmp_path),
        cache=Cache(redis),
        tokens=tokens,
        authenticator=Authenticator(tokens, Credentials(database, settings.refresh_token_days)),
        limits=Limits(
            redis,
            failures_per_minute=settings.logins_per_minute,
            attempts_per_minute=settings.sign_ins_per_minute,
        ),
        process_lanes=Lanes(
            Queue(redis, "process", limit=10, attempts=2),
            Queue(redis, "bulk", limit=10, attempts=2),
        ),
        uploads=Uploads(10),
        passwords=Passwords(CHEAPEST),
        teams=teams,
    )
    yield made
    await database.close()
    await made.cache.close()
    made.passwords.close()


@pytest.fixture
def app(resources: Resources) -> FastAPI:
    """An application of this slice alone."""
    return create_app(resources, [router, sign_in])


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """Calls the application in process."""
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://localhost"
    ) as made:
        yield made


@pytest.fixture
async def online(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """Calls the application through uvicorn on a loopback socket."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve([listener]))
    port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS) as made:
        yield made
    server.should_exit = True
    await serving


class Person:
    """Somebody with an account, signed in."""

    def __init__(self, client: httpx2.AsyncClient, email: str, user_id: int, pair: Any) -> None:
        self.client = client
        self.email = email
        self.id = user_id
        self.pair = pair

    @property
    def headers(self) -> dict[str, str]:
        """Headers of their requests."""
        return {"Authorization": f"Bearer {self.pair['access_token']}"}

    async def me(self) -> httpx2.Response:
        """Ask who they are."""
        return await self.client.get("/api/users/me", headers=self.headers)

    async def refresh(self, token: str | None = None) -> httpx2.Response:
        """Exchange a refresh token, by default the last one."""
        body = {"refresh_token": token or self.pair["refresh_token"]}
        return await self.client.post("/api/auth/refresh", json=body)

    async def logout(self) -> httpx2.Response:
        """Sign out."""
        return await self.client.post("/api/auth/logout", headers=self.headers)

    async def change(
        self, headers: dict[str, str] | None = None, **fields: Any
    ) -> httpx2.Response:
        """Change their account."""
        return await self.client.patch(
            "/api/users/me", json=fields, headers=self.headers | (headers or {})
        )

    async def new_password(self, current: str, new: str) -> httpx2.Response:
        """Change their password."""
        body = {"current": current, "new": new}
        return await self.client.put("/api/users/me/password", json=body, headers=self.headers)

    async def delete(
        self, user_id: int | None = None, path: str = "/api/users"
    ) -> httpx2.Response:
        """Delete an account, by default one's own."""
        return await self.client.delete(f"{path}/{user_id or self.id}", headers=self.headers)


class Accounts:
    """Where one comes in."""

    password = "a quiet workshop"

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client

    def new_address(self) -> str:
        """An address without an account."""
        return f"{uuid.uuid4().hex}@example.org"

    async def register(
        self, email: str, password: str = password, **options: Any
    ) -> httpx2.Response:
        """Ask for an account."""
        return await self.client.post(
            "/api/users", json={"email": email, "password": password}, **options
        )

    async def sign_in(self, email: str, password: str = password) -> httpx2.Response:
        """Send the password form."""
        return await self.client.post(
            "/api/auth/token", data={"username": email, "password": password}
        )

    async def enter(self, email: str) -> Person:
        """Somebody who has an account, signed in."""
        pair = (await self.sign_in(email)).raise_for_status().json()
        headers = {"Authorization": f"Bearer {pair['access_token']}"}
        account = (
            (await self.client.get("/api/users/me", headers=headers)).raise_for_status().json()
        )
        return Person(self.client, email, account["id"], pair)

    async def person(self) -> Person:
        """A new account, signed in; its access token has not been seen by any server yet."""
        email = self.new_address()
        account = (await self.register(email)).raise_for_status().json()
        pair = (await self.sign_in(email)).raise_for_status().json()
        return Person(self.client, email, account["id"], pair)


@pytest.fixture
def accounts(client: httpx2.AsyncClient) -> Accounts:
    """The application in process."""
    return Accounts(client)


@pytest.fixture
def online_accounts(online: httpx2.AsyncClient) -> Accounts:
    """The application over a socket."""
    return Accounts(online)


@pytest.fixture
def grace_over(resources: Resources) -> Callable[[], Awaitable[object]]:
    """Lets the ten seconds pass in which a token that was exchanged gives the same pair."""
    return partial(
        resources.database.fetch,
        "UPDATE refresh_families SET rotated_at = rotated_at - interval '10 seconds'",
    )


@pytest.fixture
async def anna(accounts: Accounts) -> Person:
    """Somebody signed in."""
    return await accounts.person()


@pytest.fixture
async def boris(accounts: Accounts) -> Person:
    """Somebody else."""
    return await accounts.person()
