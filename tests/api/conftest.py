"""The whole API for tests of every operation: uvicorn in this process, and a running instance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from atelier.files import django_setup
from atelier.roles import api
from atelier.settings import Settings
from tests.api.people import sign_up, things_of
from tests.http.support import served
from tests.system.conftest import running
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from fastapi import FastAPI

    from tests.api.people import Person
    from tests.system.instance import Instance

SECRET = "s" * 64
LIFE_SECONDS = 36_000  # of a token: longer than a module's tests take on any machine


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    """A running instance that a module's tests share."""
    with running(
        access_token_seconds=str(LIFE_SECONDS),
        logins_per_minute="100000",
        sign_ins_per_minute="100000",
    ) as instance:
        yield instance


@pytest.fixture(scope="module")
def settings(
    tmp_path_factory: pytest.TempPathFactory, database_url: str, redis_url: str
) -> Settings:
    """Settings that a module's tests share: a data folder, this worker's database and Redis."""
    data = tmp_path_factory.mktemp("api")
    return Settings(
        data=data,
        database_url=database_url,
        redis_url=redis_url,
        secret=SECRET,
        access_token_seconds=LIFE_SECONDS,
    )


@pytest.fixture(scope="module")
def app(settings: Settings) -> FastAPI:
    """The whole application; no worker runs beside it."""
    return api.build(settings)


@pytest.fixture(scope="module")
async def port(app: FastAPI) -> AsyncIterator[int]:
    """Where it listens."""
    async with served(app) as port:
        yield port
    django_setup.disconnect()


@pytest.fixture(scope="module")
async def client(port: int) -> AsyncIterator[httpx2.AsyncClient]:
    """A client over a socket, without a token."""
    async with httpx2.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS
    ) as client:
        yield client


@pytest.fixture(scope="module")
async def document(client: httpx2.AsyncClient) -> dict[str, Any]:
    """The OpenAPI document."""
    found: dict[str, Any] = (await client.get("/openapi.json")).json()
    return found


@pytest.fixture(scope="module")
async def ada(client: httpx2.AsyncClient) -> Person:
    """A user who owns things, and keeps them through all tests."""
    return await sign_up(client)


@pytest.fixture(scope="module")
async def things(client: httpx2.AsyncClient, ada: Person) -> dict[str, object]:
    """One of each of what Ada has: values of path parameters."""
    return await things_of(client, ada)


@pytest.fixture
async def bob(client: httpx2.AsyncClient) -> Person:
    """Somebody new."""
    return await sign_up(client)
