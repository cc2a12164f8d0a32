"""The whole API in this process, on real engines, and people with clients of their own."""

from __future__ import annotations

import itertools
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

import httpx2
from argon2.profiles import CHEAPEST

from atelier.auth import Passwords
from atelier.roles import api
from atelier.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from fastapi import FastAPI

PASSWORD = "correct horse battery"
numbers = itertools.count()


@asynccontextmanager
async def started(data: Path, database_url: str, redis_url: str) -> AsyncIterator[FastAPI]:
    """The application; its passwords cost little, and everybody may sign in as often as needed."""
    made = api.build(
        Settings(
            data=data,
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


class Client:
    """Somebody with an address, and perhaps an account and a token."""

    id: int

    def __init__(self, application: FastAPI) -> None:
        self.email = f"person{next(numbers)}-{uuid.uuid4().hex}@example.org"
        transport = httpx2.ASGITransport(application)
        self.client = httpx2.AsyncClient(transport=transport, base_url="http://localhost")
        self.get, self.post, self.delete = self.client.get, self.client.post, self.client.delete
        self.patch, self.put = self.client.patch, self.client.put

    async def enter(self, *, register: bool = True) -> Self:
        """Make the account and take a token."""
        if register:
            body = {"email": self.email, "password": PASSWORD}
            answer = await self.post("/api/users", json=body)
            assert answer.status_code == 201, answer.text
        form = {"username": self.email, "password": PASSWORD}
        answer = await self.post("/api/auth/token", data=form)
        assert answer.status_code == 200, answer.text
        self.client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        self.id = (await self.get("/api/users/me")).json()["id"]
        return self
