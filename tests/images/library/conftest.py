"""The API in this process, for tests of libraries, whose pictures are in the database alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.application import started
from tests.images.library.pictures import Person

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI

    from atelier.database import Database
    from atelier.http.resources import Resources


@pytest.fixture(scope="package")
async def application(
    tmp_path_factory: pytest.TempPathFactory, database_url: str, redis_url: str
) -> AsyncIterator[FastAPI]:
    """The application, started once for all tests: each has users of its own."""
    async with started(tmp_path_factory.mktemp("library"), database_url, redis_url) as made:
        yield made


@pytest.fixture
def resources(application: FastAPI) -> Resources:
    """The application's resources."""
    found: Resources = application.state.resources
    return found


@pytest.fixture
def database(resources: Resources) -> Database:
    """The application's database."""
    return resources.database


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
