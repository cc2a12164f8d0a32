"""`atelier users`: what operators do about accounts, beside an instance or a stopped one."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx2
import psycopg
import pytest
from argon2.profiles import CHEAPEST

from atelier.auth import Passwords
from atelier.cli import main
from atelier.commands import users
from atelier.errors import Conflict, Invalid, NotFound
from atelier.roles import api
from atelier.settings import Settings
from tests.commands.test_database import stopped  # noqa: F401 - a fixture
from tests.http.support import served
from tests.waiting import PATIENCE_SECONDS, eventually, finished

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from redis.asyncio import Redis

SECRET = "s" * 64
PASSWORD = "a quiet workshop"


class Place:
    """An application on a database of its own, and its operator."""

    def __init__(self, settings: Settings, client: httpx2.AsyncClient) -> None:
        self.settings, self.client = settings, client

    async def register(self, email: str, **more: Any) -> httpx2.Response:
        """Ask for an account."""
        body = {"email": email, "password": PASSWORD} | more
        return await self.client.post("/api/users", json=body)

    async def sign_in(self, email: str, password: str = PASSWORD) -> httpx2.Response:
        """Send the password form."""
        form = {"username": email, "password": password}
        return await self.client.post("/api/auth/token", data=form)

    async def headers(self, email: str) -> dict[str, str]:
        """Headers of somebody who signs in."""
        pair = (await self.sign_in(email)).raise_for_status().json()
        return {"Authorization": f"Bearer {pair['access_token']}"}

    async def me(self, headers: dict[str, str]) -> httpx2.Response:
        """Ask who that is."""
        return await self.client.get("/api/users/me", headers=headers)

    async def reset(self, token: str, password: str) -> httpx2.Response:
        """Set a new password by a link."""
        body = {"token": token, "password": password}
        return await self.client.post("/api/auth/reset", json=body)

    async def run(self, command: Callable[..., int], *words: object) -> None:
        """Run a command as its own process would: without this loop."""
        assert await asyncio.to_thread(command, self.settings, *words) == 0


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Place]:
    """The application of these settings, over a socket."""
    app = api.build(settings)
    app.state.resources.passwords = Passwords(CHEAPEST)
    async with (
        served(app) as port,
        httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS
        ) as client,
    ):
        yield Place(settings, client)


@pytest.fixture
def settings(tmp_path: Path, fresh_database_url: str, redis_url: str, redis: Redis) -> Settings:
    """Settings of an instance on a database without a row."""
    return Settings(
        data=tmp_path,
        database_url=fresh_database_url,
        redis_url=redis_url,
        secret=SECRET,
        registration="invited",
        public_url="https://atelier.example.org/",
    )


@pytest.fixture
async def place(settings: Settings) -> AsyncIterator[Place]:
    """An instance whose accounts are made by invitation, with its first account."""
    async with opened(settings) as place:
        assert (await place.register("ada@example.org")).status_code == 201
        yield place


@pytest.fixture
async def said(place: Place, capsys: pytest.CaptureFixture[str]) -> Callable[..., Awaitable[str]]:
    """Runs a command and returns what it printed."""

    async def run(command: Callable[..., int], *words: object) -> str:
        capsys.readouterr()
        await place.run(command, *words)
        return capsys.readouterr().out

    return run


async def test_every_account_has_a_line(place: Place, said: Callable[..., Awaitable[str]]) -> None:
    """With what it may, its name, and when its person was last here."""
    headers = await place.headers("ada@example.org")
    await place.client.patch("/api/users/me", json={"name": "Ada [x]"}, headers=headers)
    token = (await said(users.invite, "bob@example.org")).strip().partition("#")[2]
    await place.register("bob@example.org", invitation=token)
    await place.run(users.disable, "bob@example.org")
    first, second, count = (await said(users.show)).splitlines()
    assert first.split("  ")[1:4] == ["ada@example.org", "Ada [x]", "administrator"]
    assert "last here " in first
    assert second.split("  ")[1] == "bob@example.org"
    assert "disabled " in second
    assert second.endswith("no session")
    assert count == "2 accounts"


async def test_an_invitation_makes_one_account(
    place: Place, said: Callable[..., Awaitable[str]]
) -> None:
    """Its link has the token in the fragment, which browsers send to no server."""
    link = (await said(users.invite, None)).strip()
    address, _, token = link.partition("#")
    assert address == "https://atelier.example.org/invitation"
    assert (await place.register("bob@example.org")).json()["type"].endswith("registration-closed")
    made = await place.register("bob@example.org", invitation=token)
    assert (made.status_code, made.json()["administrator"]) == (201, False)
    again = await place.register("eve@example.org", invitation=token)
    assert again.status_code == 403
    assert again.json()["type"].endswith("dead-link")


async def test_an_invitation_may_be_for_one_address(
    place: Place, said: Callable[..., Awaitable[str]]
) -> None:
    """Nobody else can use it, and trying does not use it up."""
    token = (await said(users.invite, "Bob@example.org")).strip().partition("#")[2]
    assert (await place.register("eve@example.org", invitation=token)).status_code == 403
    assert (await place.register("bob@EXAMPLE.org", invitation=token)).status_code == 201


async def test_an_address_that_has_an_account_is_not_invited(place: Place) -> None:
    """Nor is a text that is no address."""
    with pytest.raises(Conflict, match="has an account"):
        await place.run(users.invite, "ADA@example.org")
    with pytest.raises(Invalid, match="is no address"):
        await place.run(users.invite, "ada")


async def test_a_link_sets_a_new_password_once(
    place: Place, said: Callable[..., Awaitable[str]], settings: Settings
) -> None:
    """Every session ends with it, and at rest there is only a digest of its token."""
    headers = await place.headers("ada@example.org")
    assert (await place.me(headers)).status_code == 200
    link = (await said(users.reset, "ADA@example.org")).strip()
    address, _, token = link.partition("#")
    assert address == "https://atelier.example.org/reset"
    assert hashed(settings) == [hashlib.sha256(token.encode()).digest()]
    assert (await place.reset(token, "password")).status_code == 422
    assert (await place.reset(token, "a louder workshop")).status_code == 204
    assert (await place.me(headers)).status_code == 401
    assert (await place.sign_in("ada@example.org")).status_code == 401
    assert (await place.sign_in("ada@example.org", "a louder workshop")).status_code == 200
    assert (await place.reset(token, "a third workshop")).json()["type"].endswith("dead-link")


async def test_only_the_newest_link_is_valid_and_for_an_hour(
    place: Place, said: Callable[..., Awaitable[str]], settings: Settings
) -> None:
    """An older one, and one that is too old, are refused alike."""
    old = (await said(users.reset, "ada@example.org")).strip().partition("#")[2]
    new = (await said(users.reset, "ada@example.org")).strip().partition("#")[2]
    assert (await place.reset(old, "a louder workshop")).status_code == 403
    with psycopg.connect(str(settings.database_url.get_secret_value())) as connection:
        left = connection.execute(
            "SELECT expires_at - created_at BETWEEN '59 minutes' AND '61 minutes' "
            "FROM account_links"
        ).fetchall()
        connection.execute("UPDATE account_links SET expires_at = now()")
    assert left == [(True,)]
    assert (await place.reset(new, "a louder workshop")).status_code == 403


async def test_a_disabled_user_is_out_at_once(
    place: Place, said: Callable[..., Awaitable[str]], settings: Settings
) -> None:
    """Also in a process that knew the token; signing in answers as a wrong password does."""
    token = (await said(users.invite, None)).strip().partition("#")[2]
    await place.register("bob@example.org", invitation=token)
    headers = await place.headers("bob@example.org")
    assert (await place.me(headers)).status_code == 200
    assert "signed out everywhere" in await said(users.disable, "bob@example.org")
    await wait_until_out(place, headers)
    refused, wrong = (
        await place.sign_in("bob@example.org"),
        await place.sign_in("bob@example.org", "a wrong workshop"),
    )
    assert refused.status_code == 401
    assert refused.json() == wrong.json()
    await place.run(users.enable, "bob@example.org")
    assert (await place.sign_in("bob@example.org")).status_code == 200
    assert (await place.me(headers)).status_code == 401


async def test_the_last_administrator_stays(
    place: Place, said: Callable[..., Awaitable[str]]
) -> None:
    """Until there is another one, who can sign in."""
    token = (await said(users.invite, None)).strip().partition("#")[2]
    await place.register("bob@example.org", invitation=token)
    for command in (users.disable, users.demote):
        with pytest.raises(Conflict, match="somebody else an administrator first"):
            await place.run(command, "ada@example.org")
    await place.run(users.promote, "bob@example.org")
    await place.run(users.disable, "bob@example.org")
    with pytest.raises(Conflict, match="somebody else an administrator first"):
        await place.run(users.demote, "ada@example.org")
    await place.run(users.enable, "bob@example.org")
    await place.run(users.disable, "ada@example.org")


async def test_of_two_administrators_one_stays(
    place: Place, said: Callable[..., Awaitable[str]]
) -> None:
    """Disabled at the same moment, the second is refused."""
    token = (await said(users.invite, None)).strip().partition("#")[2]
    await place.register("bob@example.org", invitation=token)
    await place.run(users.promote, "bob@example.org")
    outcomes = await asyncio.gather(
        place.run(users.disable, "ada@example.org"),
        place.run(users.disable, "bob@example.org"),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict", "NoneType"]


async def test_signing_out_one_or_all(place: Place, said: Callable[..., Awaitable[str]]) -> None:
    """Their tokens are dead at once, those that a process knows included."""
    token = (await said(users.invite, None)).strip().partition("#")[2]
    await place.register("bob@example.org", invitation=token)
    ada, bob = await place.headers("ada@example.org"), await place.headers("bob@example.org")
    for headers in (ada, bob):
        assert (await place.me(headers)).status_code == 200
    await place.run(users.sign_out, "bob@example.org")
    await wait_until_out(place, bob)
    assert (await place.me(ada)).status_code == 200
    assert "1 session" in await said(users.sign_out, None)
    await wait_until_out(place, ada)


async def test_who_is_not_there_is_named(place: Place) -> None:
    """By every command that is about one account."""
    for command in (users.reset, users.disable, users.enable, users.sign_out, users.promote):
        with pytest.raises(NotFound, match=r"no account with the address eve@example\.org"):
            await place.run(command, "eve@example.org")


def test_it_works_on_a_stopped_instance(stopped: Settings) -> None:  # noqa: F811 - a fixture
    """The embedded database runs for as long as the command needs it; links name host and port."""
    link = finished(words(stopped, "invite", "ada@example.org"), cwd=stopped.data)
    assert link.stdout.startswith("http://127.0.0.1:8000/invitation#"), link.stderr
    listed = finished(words(stopped, "list"), cwd=stopped.data)
    assert listed.stdout == "0 accounts\n", listed.stderr
    failed = finished(words(stopped, "reset", "ada@example.org"), cwd=stopped.data)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr == "atelier: There is no account with the address ada@example.org.\n"


@pytest.mark.parametrize("arguments", [[], ["a@example.org", "--all"]])
def test_sign_out_needs_to_know_whom(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An address or everybody, and not both."""
    monkeypatch.setattr(sys, "argv", ["atelier", "users", "sign-out", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "everybody by --all" in capsys.readouterr().err


def words(settings: Settings, *arguments: str) -> list[str]:
    """The command line of `atelier users`."""
    data = ["--data", str(settings.data)]
    return [sys.executable, "-m", "atelier", "users", *arguments, *data]


def hashed(settings: Settings) -> list[bytes]:
    """Digests of all links."""
    with psycopg.connect(str(settings.database_url.get_secret_value())) as connection:
        rows: list[Any] = connection.execute("SELECT token_sha256 FROM account_links").fetchall()
    return [digest for (digest,) in rows]


async def wait_until_out(place: Place, headers: dict[str, str]) -> None:
    """Return once the API has heard that a session is over, long before it asks by itself."""

    async def out() -> bool:
        return (await place.me(headers)).status_code == 401

    async with asyncio.timeout(30):
        await eventually(out)
