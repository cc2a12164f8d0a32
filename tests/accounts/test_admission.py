"""Who may make an account, and who is the administrator."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from argon2.profiles import CHEAPEST

from atelier.accounts.account import delete_account
from atelier.accounts.routes import router
from atelier.auth import Passwords
from atelier.commands.migrate import migrate, reach
from atelier.database import Database
from atelier.http.app import create_app
from atelier.settings import Settings
from atelier.spaces import teams
from tests.http.support import make_resources

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from atelier.http.resources import Resources

PASSWORD = "a quiet workshop"


@pytest.fixture
async def empty(fresh_database_url: str, tmp_path: Path) -> AsyncIterator[Resources]:
    """An instance that nobody has an account of."""
    settings = Settings(data=tmp_path, secret="s" * 64, host="0.0.0.0")
    made = make_resources(settings, fresh_database_url)
    made.passwords = Passwords(CHEAPEST)
    yield made
    await made.database.close()
    await made.cache.close()
    await made.redis.aclose()
    made.passwords.close()


async def register(resources: Resources, email: str, **more: Any) -> httpx2.Response:
    """Ask for an account."""
    app = create_app(resources, [router])
    body = {"email": email, "password": PASSWORD} | more
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://atelier") as client:
        return await client.post("/api/users", json=body)


def slug(answer: httpx2.Response) -> str:
    """The kind of problem."""
    return str(answer.json()["type"].rpartition("/")[2])


@pytest.mark.parametrize(
    ("host", "registration", "admission"),
    [
        ("127.0.0.1", None, "open"),
        ("127.8.9.1", None, "open"),
        ("::1", None, "open"),
        ("localhost", None, "open"),
        ("0.0.0.0", None, "invited"),
        ("::", None, "invited"),
        ("192.0.2.7", None, "invited"),
        ("example.org", None, "invited"),
        ("0.0.0.0", "open", "open"),
        ("127.0.0.1", "closed", "closed"),
    ],
)
def test_who_may_make_an_account(
    tmp_path: Path, host: str, registration: str | None, admission: str
) -> None:
    """What the setting says; none: everybody, as long as only this machine can ask."""
    settings = Settings(data=tmp_path, host=host, registration=registration)
    assert settings.admission == admission


async def test_the_first_account_is_the_administrator(empty: Resources) -> None:
    """It needs no invitation: there is nobody who could invite; the next one does."""
    first = await register(empty, "ada@example.org")
    assert (first.status_code, first.json()["administrator"]) == (201, True)
    second = await register(empty, "bob@example.org")
    assert (second.status_code, slug(second)) == (403, "registration-closed")


async def test_an_open_instance_has_one_administrator(empty: Resources) -> None:
    """Of many who register first, at the same moment."""
    empty.settings = empty.settings.model_copy(update={"registration": "open"})
    answers = await asyncio.gather(
        *(register(empty, f"user{number}@example.org") for number in range(6))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert sorted(answer.json()["administrator"] for answer in answers) == [False] * 5 + [True]


async def test_two_processes_make_one_first_account(
    empty: Resources, fresh_database_url: str
) -> None:
    """Where the next one needs an invitation, one of two is refused."""
    other = make_resources(empty.settings, fresh_database_url)
    other.passwords = empty.passwords
    answers = await asyncio.gather(
        *(register(each, f"{name}@example.org") for name, each in (("a", empty), ("b", other)))
    )
    await other.database.close()
    await other.cache.close()
    await other.redis.aclose()
    assert sorted(answer.status_code for answer in answers) == [201, 403]


async def test_a_closed_instance_takes_nobody(empty: Resources) -> None:
    """Not even the first."""
    empty.settings = empty.settings.model_copy(update={"registration": "closed"})
    answer = await register(empty, "ada@example.org", invitation="x")
    assert (answer.status_code, slug(answer)) == (403, "registration-closed")


async def test_nothing_is_hashed_for_who_is_refused(
    empty: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hashing is what costs; a stranger cannot make the instance work."""
    hashed: list[str] = []
    work = Passwords.hash

    async def watched(self: Passwords, password: str, client: str) -> str:
        hashed.append(password)
        return await work(self, password, client)

    monkeypatch.setattr(Passwords, "hash", watched)
    await register(empty, "ada@example.org")
    assert len(hashed) == 1
    assert (await register(empty, "bob@example.org")).status_code == 403
    assert slug(await register(empty, "bob@example.org", invitation="x")) == "dead-link"
    assert slug(await register(empty, "eve@example.org", password="password1")) != "invalid"
    assert len(hashed) == 1


async def test_the_oldest_other_account_follows_an_administrator(empty: Resources) -> None:
    """An instance is never left without one, as long as somebody is there."""
    empty.settings = empty.settings.model_copy(update={"registration": "open"})
    ids = [(await register(empty, f"{name}@example.org")).json()["id"] for name in "abc"]
    await empty.database.fetch("UPDATE users SET disabled_at = now() WHERE id = $1", ids[1])
    await leave(empty, ids[0])
    left = await empty.database.fetch("SELECT id, administrator FROM users ORDER BY id")
    assert [tuple(row) for row in left] == [(ids[1], False), (ids[2], True)]
    await leave(empty, ids[2])  # whoever is disabled looks after nothing
    left = await empty.database.fetch("SELECT id, administrator FROM users")
    assert [tuple(row) for row in left] == [(ids[1], False)]


async def leave(resources: Resources, user_id: int) -> None:
    """Delete an account as its user does."""
    async with resources.database.session() as session:
        await delete_account(session, user_id, lambda _: True, forget=(), disown=(), teams=teams)


async def test_upgrading_makes_the_oldest_account_administrator(empty_database_url: str) -> None:
    """And leaves everybody's rows as they were."""
    add = """
        INSERT INTO users (email, email_folded, password_hash, sequence, created_at)
        SELECT n || '@example.org', n || '@example.org', '-', 1, now()
        FROM generate_series(1, 3) AS n
    """
    await asyncio.to_thread(reach, empty_database_url, "0006", "0003")
    database = Database(empty_database_url)
    await database.fetch(add)
    await asyncio.to_thread(migrate, empty_database_url)
    rows = await database.fetch("SELECT administrator, name, disabled_at FROM users ORDER BY id")
    await database.close()
    assert [tuple(row) for row in rows] == [(True, None, None)] + [(False, None, None)] * 2
