"""The API in this process, with the real image processor and archiver, on real engines."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from atelier.accounts import revocations
from atelier.roles import api, archiver, processor
from atelier.settings import Settings
from tests.waiting import PATIENCE_SECONDS, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI
    from redis.asyncio import Redis

    from atelier.http.resources import Resources

PHOTOS = Path(__file__).parents[1] / "photos"
PASSWORD = "correct horse battery"
people = itertools.count()


@pytest.fixture
def settings(tmp_path: Path, database_url: str, redis_url: str, redis: Redis) -> Settings:
    """Settings of a new instance: a data folder, this worker's database, an empty Redis."""
    return Settings(
        data=tmp_path,
        database_url=database_url,
        redis_url=redis_url,
        secret="s" * 32,
        processor_workers=1,
        decode_seconds=round(PATIENCE_SECONDS),
        reconcile_seconds=3600,
    )


@pytest.fixture
async def application(settings: Settings) -> AsyncIterator[FastAPI]:
    """The application, started and stopped."""
    made = api.build(settings)
    async with made.router.lifespan_context(made):
        yield made


@pytest.fixture
def app(application: FastAPI) -> httpx2.ASGITransport:
    """The application, as clients reach it."""
    return httpx2.ASGITransport(application)


class Person:
    """A user with a client of their own."""

    def __init__(self, transport: httpx2.ASGITransport) -> None:
        self.email = f"person{next(people)}@example.org"
        self.duplicates: list[int] = []  # those that the last upload told of
        self.client = httpx2.AsyncClient(transport=transport, base_url="http://localhost")

    async def sign_in(self) -> Person:
        """Make the account and take a token."""
        account = await self.client.post(
            "/api/users", json={"email": self.email, "password": PASSWORD}
        )
        assert account.status_code == 201, account.text
        self.id: int = account.json()["id"]
        form = {"username": self.email, "password": PASSWORD}
        answer = await self.client.post("/api/auth/token", data=form)
        self.client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return self

    async def upload(
        self, photo: str = "waterfall_640x480.jpg", *, expect: int = 201, **form: Any
    ) -> dict[str, Any]:
        """Upload a photograph; the answer."""
        content = form.pop("content", None) or (PHOTOS / photo).read_bytes()
        headers, space = form.pop("headers", None), form.pop("space", None)
        params = {} if space is None else {"space": space}
        files = {"file": (form.pop("filename", photo), content, "image/jpeg")}
        answer = await self.client.post(
            "/api/images", files=files, data=form, headers=headers, params=params
        )
        assert answer.status_code == expect, answer.text
        body: dict[str, Any] = answer.json()
        self.duplicates = body.pop("duplicates", [])
        return body

    async def settled(self, image_id: int) -> dict[str, Any]:
        """The record once it is final."""

        async def final() -> dict[str, Any] | None:
            record: dict[str, Any] = (await self.client.get(f"/api/images/{image_id}/info")).json()
            return record if record["status"] != "queued" else None

        return await eventually(final)


@pytest.fixture
async def ada(app: httpx2.ASGITransport) -> AsyncIterator[Person]:
    """A signed-in user."""
    person = await Person(app).sign_in()
    yield person
    await person.client.aclose()


@pytest.fixture
async def bob(app: httpx2.ASGITransport) -> AsyncIterator[Person]:
    """Another signed-in user."""
    person = await Person(app).sign_in()
    yield person
    await person.client.aclose()


class Team:
    """A space of several people, and who is in it."""

    def __init__(self, resources: Resources, space_id: int) -> None:
        self.resources, self.id = resources, space_id

    async def join(self, person: Person, role: str) -> None:
        """Give a person this role."""
        await self._tell(
            person,
            "INSERT INTO members VALUES ($1, $2, $3, now()) "
            "ON CONFLICT (space_id, user_id) DO UPDATE SET role = excluded.role",
            role,
        )

    async def leave(self, person: Person) -> None:
        """Take a person's role away."""
        await self._tell(person, "DELETE FROM members WHERE space_id = $1 AND user_id = $2")

    async def _tell(self, person: Person, statement: str, *values: str) -> None:
        redis, authenticator = self.resources.redis, self.resources.authenticator
        await self.resources.database.fetch(statement, self.id, person.id, *values)
        await revocations.announce(redis, authenticator, user_id=person.id)


async def new_team(resources: Resources, **members: Person) -> Team:
    """A team; `members` are named by their roles."""
    made = await resources.database.fetch(
        "INSERT INTO spaces (name, created_at) VALUES ('Team', now()) RETURNING id"
    )
    team = Team(resources, made[0]["id"])
    for role, person in members.items():
        await team.join(person, role)
    return team


@pytest.fixture
def resources(application: FastAPI) -> Resources:
    """Those of the application."""
    found: Resources = application.state.resources
    return found


@pytest.fixture
async def carl(app: httpx2.ASGITransport) -> AsyncIterator[Person]:
    """A third user."""
    person = await Person(app).sign_in()
    yield person
    await person.client.aclose()


@pytest.fixture
async def team(resources: Resources, ada: Person) -> Team:
    """A team that ada owns."""
    return await new_team(resources, owner=ada)


@pytest.fixture
async def workers(settings: Settings) -> AsyncIterator[None]:
    """The image processor and the archiver at work."""
    stop = asyncio.Event()
    tasks = [asyncio.create_task(role.run(settings, stop)) for role in (processor, archiver)]
    yield
    stop.set()
    await asyncio.gather(*tasks)


async def newest_event(resources: Resources, image_id: int) -> dict[str, Any]:
    """The data of the last event of a picture."""
    row = await resources.database.fetchrow(
        "SELECT data::text FROM outbox WHERE subject = $1 ORDER BY id DESC LIMIT 1",
        f"images/{image_id}",
    )
    assert row is not None
    data: dict[str, Any] = json.loads(row["data"])
    return data
