"""The API in this process, on real engines, and people who work with tasks."""

from __future__ import annotations

import base64
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.application import Client, started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2
    from fastapi import FastAPI

    from atelier.http.resources import Resources

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0"
MEMBER = "INSERT INTO members (space_id, user_id, role, created_at) VALUES ($1, $2, $3, now())"


def picture() -> bytes:
    """A picture unlike any other."""
    return PNG + uuid.uuid4().bytes


@pytest.fixture(scope="session")
async def application(
    tmp_path_factory: pytest.TempPathFactory, database_url: str, redis_url: str
) -> AsyncIterator[FastAPI]:
    """The application, started once for all tests: each has users of its own."""
    folder = tmp_path_factory.mktemp("tasks")
    async with started(folder, database_url, redis_url) as made:
        yield made


@pytest.fixture
def resources(application: FastAPI) -> Resources:
    """The application's resources."""
    found: Resources = application.state.resources
    return found


class Person(Client):
    """A user with a client of their own."""

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
    person = await Person(application).enter()
    yield person
    await person.client.aclose()


@pytest.fixture
async def bob(application: FastAPI) -> AsyncIterator[Person]:
    """Another signed-in user."""
    person = await Person(application).enter()
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
