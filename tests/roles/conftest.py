"""Fixtures of the roles' tests."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.conftest import drop_database, sibling

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """A database without a table."""
    name = f"empty_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield sibling(postgres_url, name)
    drop_database(postgres_url, name)
