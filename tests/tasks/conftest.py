"""The API in this process, on real engines, and people who work with tasks."""

from __future__ import annotations

import base64
import itertools
import uuid
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from argon2.profiles import CHEAPEST

from atelier.auth import Passwords
from atelier.roles import api
from atelier.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI

    from atelier.http.resources import Resources

PASSWORD = "correct horse battery"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0"
MEMBER = "INSERT INTO members (space_id, user_id, role, created_at) VALUES ($1, $2, $3, now())"
numbers = itertools.count()


def picture() -> bytes:
    """A picture unlike any other."""
    return PNG + uuid.uuid4().bytes


@pytest.fixture(scope="session")
async def application(
    tmp_path_factory: pytest.TempPathFactory, database_url: str, redis_url: str
) -> AsyncIterator[FastAPI]:
    """The application, started once for all tests: each has users of its own."""
    folder = tmp_path_factory.mktemp("tasks")
    made = api.build(
        Settings(
            data=folder,
            database_url=database_url,
            redis_url=redis_url,
            secret="s" * 32,
            sign_ins_per_minute=100_000,
        )
    )
    made.state.resources.passwords.close()
    made.state.resources.passwords = Passwords(CHEAPEST)
    async with made.router.lifespan_context(made):
        yield made


@pytest.fixture
def resources(application: FastAPI) -> Resources:
    """The application's resources."""
    found: Resources = application.state.resources
    return found


class Person:
    """A user with a client of their own."""

    def __init__(self, application: FastAPI) -> None:
        self.email = f"person{next(numbers)}-{uuid.uuid4().hex}@example.org"
        transport = httpx2.ASGITransport(application)
        self.client = httpx2.AsyncClient(transport=transport, base_url="http://localhost")
        self.get, self.post, self.delete = self.client.get, self.client.post, self.client.delete

    async def sign_in(self) -> Person:
        """Make the account and take a token."""
        account = await self.post("/api/users", json={"email": self.email, "password": PASSWORD})
        assert account.status_code == 201, account.text
        self.id: int = account.json()["id"]
        answer = await self.post(
            "/api/auth/token", data={"username": self.email, "password": PASSWORD}
        )
        self.client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return self

    async def create(
        self, content: bytes | None = None, meta: str = "", **options: Any
    ) -> dict[str, Any]:
        """Make a task of a picture; its record. `params` may name a space."""
        body = {"image": base64.b64encode(content or picture()).decode(), "meta": meta}
        answer = await self.post("/api/tasks", json=body, **options)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def create_in(self, queue_id: int, space_id: int | None = None) -> int:
        """Make a task of a queue; its id."""
        encoded = base64.b64encode(picture()).decode()
        body = {"image": encoded, "meta": "", "queue_id": queue_id}
        answer = await self.post(
            "/api/tasks", json=body, params={"space": space_id} if space_id else {}
        )
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    async def take(self, lease_seconds: int | None = None, **options: Any) -> httpx2.Response:
        """Take a task."""
        body = {} if lease_seconds is None else {"lease_seconds": lease_seconds}
        return await self.post("/api/tasks/take", json=body, **options)

    async def counter(self) -> int:
        """How many tasks this user has made."""
        return int((await self.get("/api/users/me")).json()["tasks_created"])

    async def total(self) -> int:
        """How many tasks all users have made."""
        return int((await self.get("/api/tasks/total_created")).json()["total_tasks_created"])


@pytest.fixture
async def ada(application: FastAPI) -> AsyncIterator[Person]:
    """A signed-in user."""
    person = await Person(application).sign_in()
    yield person
    await person.client.aclose()


@pytest.fixture
async def bob(application: FastAPI) -> AsyncIterator[Person]:
    """Another signed-in user."""
    person = await Person(application).sign_in()
    yield person
    await person.client.aclose()


class Team:
    """A space with members, made by hand."""

    def __init__(self, resources: Resources, space_id: int) -> None:
        self.id = space_id
        self._resources = resources

    async def add(self, person: Person, role: str | None) -> None:
        """Give somebody a role, or, with None, remove them; every process has heard of it."""
        database = self._resources.database
        await database.fetch(
            "DELETE FROM members WHERE (space_id, user_id) = ($1, $2)", self.id, person.id
        )
        if role is not None:
            await database.fetch(MEMBER, self.id, person.id, role)
        self._resources.authenticator.clear()


async def make_team(resources: Resources, *members: tuple[Person, str]) -> Team:
    """A space whose members have these roles."""
    made = await resources.database.fetchrow(
        "INSERT INTO spaces (name, created_at) VALUES ('team', now()) RETURNING id"
    )
    assert made
    team = Team(resources, made["id"])
    for person, role in members:
        await team.add(person, role)
    return team
