"""The API in this process, on real engines, and people who share spaces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.application import Client, started
from tests.tasks.test_killed import instance  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import httpx2
    from fastapi import FastAPI

    from atelier.http.resources import Resources

PHOTO = (Path(__file__).parents[1] / "photos" / "waterfall_640x480.jpg").read_bytes()


@pytest.fixture(scope="session")
async def application(
    tmp_path_factory: pytest.TempPathFactory, database_url: str, redis_url: str
) -> AsyncIterator[FastAPI]:
    """The application, started once for all tests: each has users of its own."""
    folder = tmp_path_factory.mktemp("spaces")
    async with started(folder, database_url, redis_url) as made:
        yield made


@pytest.fixture
def resources(application: FastAPI) -> Resources:
    """The application's resources."""
    found: Resources = application.state.resources
    return found


class Person(Client):
    """A user with a client of their own."""

    async def space(self, name: str = "Herbarium") -> int:
        """Make a team's space; its id."""
        answer = await self.post("/api/spaces", json={"name": name})
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    async def invite(self, space_id: int, role: str = "editor", **more: Any) -> Any:
        """An invitation with its token."""
        body = {"space_id": space_id, "role": role} | more
        answer = await self.post("/api/invitations", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def accept(self, token: str, **more: Any) -> httpx2.Response:
        """Use an invitation."""
        return await self.post("/api/invitations/accept", json={"token": token} | more)

    async def let_in(self, space_id: int, other: Person, role: str = "editor") -> None:
        """Invite somebody, who accepts."""
        answer = await other.accept((await self.invite(space_id, role))["token"])
        assert answer.status_code == 201, answer.text

    async def leave(self, space_id: int) -> httpx2.Response:
        """Leave a space."""
        return await self.delete(f"/api/spaces/{space_id}/members/{self.id}")

    async def roles(self, space_id: int) -> dict[int, str]:
        """The members of a space."""
        found = await self.get(f"/api/spaces/{space_id}/members")
        assert found.status_code == 200, found.text
        return {member["user_id"]: member["role"] for member in found.json()}

    async def delete_account(self) -> httpx2.Response:
        """Delete the account."""
        return await self.delete(f"/api/users/{self.id}")


@pytest.fixture
async def people(application: FastAPI) -> AsyncIterator[Sequence[Person]]:
    """Three signed-in users."""
    made = [await Person(application).enter() for _ in range(3)]
    yield made
    for person in made:
        await person.client.aclose()


@pytest.fixture
def ada(people: Sequence[Person]) -> Person:
    """A signed-in user."""
    return people[0]


@pytest.fixture
def bob(people: Sequence[Person]) -> Person:
    """Another signed-in user."""
    return people[1]


@pytest.fixture
def eve(people: Sequence[Person]) -> Person:
    """A third one."""
    return people[2]


@pytest.fixture
async def newcomer(application: FastAPI) -> AsyncIterator[Person]:
    """Somebody without an account."""
    person = Person(application)
    yield person
    await person.client.aclose()


async def announced(resources: Resources, subject: str) -> list[str]:
    """The types of a subject's events, whose sequence has no gap."""
    query = "SELECT type, sequence FROM outbox WHERE subject = $1 ORDER BY sequence"
    rows = await resources.database.fetch(query, subject)
    assert [row["sequence"] for row in rows] == list(range(1, len(rows) + 1))
    return [row["type"] for row in rows]
