"""The limits of sign-ins: per client network, per account, and what holds without Redis."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx2
import pytest
from argon2.profiles import RFC_9106_LOW_MEMORY
from redis.asyncio import Redis as Client

from atelier.auth import Passwords
from atelier.http import ratelimit, windows
from atelier.http.ratelimit import Limits, delay_seconds
from atelier.observe.exposition import REGISTRY
from atelier.up.engines import start_valkey
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from conftest import Accounts, Person
    from fastapi import FastAPI

    from atelier.http.resources import Resources
    from atelier.up.engines import Engine

# Hashing takes longer than all else, so that sign-ins wait for it, as in life.
SLOW = replace(RFC_9106_LOW_MEMORY, memory_cost=8192)
RIGHT, WRONG = "a quiet workshop", "wrong password"


@asynccontextmanager
async def caller(app: FastAPI, address: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of this address, in process."""
    transport = httpx2.ASGITransport(app, client=(address, 50000))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


async def sign_in(client: httpx2.AsyncClient, email: str, password: str = RIGHT) -> int:
    """Send the password form; the status."""
    form = {"username": email, "password": password}
    return (await client.post("/api/auth/token", data=form)).status_code


class TestCrowd:
    """One client cannot keep the others from signing in."""

    async def test_a_crowd_of_one_client_keeps_nobody_waiting(
        self, online: httpx2.AsyncClient, resources: Resources, anna: Person
    ) -> None:
        """While it tries 120 accounts, another client signs in each time; above its share 429."""
        resources.passwords = Passwords(SLOW)
        transport = httpx2.AsyncHTTPTransport(local_address="127.0.0.9")
        statuses: list[int] = []
        async with httpx2.AsyncClient(
            transport=transport, base_url=online.base_url, timeout=PATIENCE_SECONDS
        ) as crowd:
            tries = [
                asyncio.create_task(sign_in(crowd, f"{number}@example.org", WRONG))
                for number in range(120)
            ]
            while not all(one.done() for one in tries):
                statuses.append(await sign_in(online, anna.email))
            counted = Counter(one.result() for one in tries)
        assert set(statuses) == {200}
        assert set(counted) == {401, 429}
        assert counted[429] >= 60

    async def test_above_its_share_a_network_waits(self, app: FastAPI, anna: Person) -> None:
        """Right passwords count, too, and the answer says how long; other networks do not wait."""
        app.state.resources.limits = Limits(
            app.state.resources.redis, failures_per_minute=5, attempts_per_minute=3
        )
        async with caller(app, "2001:db8::1") as client, caller(app, "2001:db8::2") as same:
            assert [await sign_in(client, anna.email) for _ in range(3)] == [200] * 3
            form = {"username": anna.email, "password": RIGHT}
            answer = await same.post("/api/auth/token", data=form)
        assert answer.status_code == 429
        assert answer.json()["type"].endswith("/too-many-requests")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        async with caller(app, "2001:db8:0:1::1") as other:
            assert await sign_in(other, anna.email) == 200

    async def test_every_way_to_a_hash_is_limited(self, app: FastAPI, accounts: Accounts) -> None:
        """Registrations, before the password is hashed; and refreshes, of which more are free."""
        app.state.resources.limits = Limits(
            app.state.resources.redis, failures_per_minute=5, attempts_per_minute=2
        )
        answers = [await accounts.register(accounts.new_address()) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [201, 201, 429]
        async with caller(app, "192.0.2.1") as client:
            refreshes = [
                (await client.post("/api/auth/refresh", json={"refresh_token": "a.b"})).status_code
                for _ in range(21)
            ]
        assert refreshes == [401] * 20 + [429]


class TestAccount:
    """An account whose password many networks guess."""

    @pytest.mark.parametrize(
        ("failures", "seconds"), [(0, 0), (10, 0), (11, 0.5), (20, 5), (30, 10), (1000, 10)]
    )
    def test_the_delay_grows_and_is_bounded(self, failures: int, seconds: float) -> None:
        """It never becomes a refusal."""
        assert delay_seconds(failures) == seconds

    async def test_strangers_are_slowed_down_and_the_owner_is_not(
        self, app: FastAPI, anna: Person, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A network that has signed in to the account before waits for nothing."""
        async with caller(app, "192.0.2.1") as owner, caller(app, "192.0.2.2") as stranger:
            assert await sign_in(owner, anna.email) == 200
            for number in range(3):
                async with caller(app, f"198.51.100.{number}") as guesser:
                    assert await sign_in(guesser, anna.email, WRONG) == 401
            for number in range(5):
                async with caller(app, f"203.0.113.{number}") as guesser:
                    for _ in range(2):
                        assert await sign_in(guesser, anna.email, WRONG) == 401
            monkeypatch.setattr(ratelimit, "ACCOUNT_DELAY_STEP_SECONDS", PATIENCE_SECONDS)
            monkeypatch.setattr(ratelimit, "ACCOUNT_DELAY_MAX_SECONDS", PATIENCE_SECONDS)
            waiting = asyncio.create_task(sign_in(stranger, anna.email))
            assert await sign_in(owner, anna.email) == 200
            assert not waiting.done()
            waiting.cancel()
            monkeypatch.setattr(ratelimit, "ACCOUNT_DELAY_MAX_SECONDS", 0.01)
            assert await sign_in(stranger, anna.email) == 200


class TestWithoutRedis:
    """The limits hold while Redis does not answer."""

    @pytest.mark.parametrize("trouble", ["absent", "hanging", "full"])
    async def test_each_process_limits_alone(
        self,
        trouble: str,
        anna: Person,
        accounts: Accounts,
        resources: Resources,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """By the same numbers; people sign in, and the log says it once."""
        monkeypatch.setattr(windows, "REDIS_SECONDS", 0.1)
        engine = start_valkey(tmp_path / "valkey")
        async with Client.from_url(engine.url) as client:
            resources.limits = Limits(client, failures_per_minute=5, attempts_per_minute=60)
            assert await self.tries(accounts, anna.email, 2) == [401] * 2
            await self.trouble(trouble, engine, client)
            assert await self.tries(accounts, anna.email, 5) == [401] * 3 + [429] * 2
            other = accounts.new_address()
            assert await self.tries(accounts, other, 6) == [401] * 5 + [429]
        engine.halt()
        assert caplog.text.count("limited by each process alone") == 1

    async def tries(self, accounts: Accounts, email: str, count: int) -> list[int]:
        """Statuses of so many wrong sign-ins."""
        return [(await accounts.sign_in(email, WRONG)).status_code for _ in range(count)]

    async def trouble(self, kind: str, engine: Engine, client: Client) -> None:
        """Make Redis useless."""
        if kind == "absent":
            engine.halt()
        elif kind == "hanging":
            engine.process.send_signal(signal.SIGSTOP)
        else:
            await client.config_set("maxmemory", 1)


def outcomes() -> dict[str, float]:
    """Sign-ins counted so far."""
    names = ("ok", "wrong", "throttled", "busy")
    get: Callable[..., float | None] = REGISTRY.get_sample_value
    return {name: get("atelier_sign_ins_total", {"outcome": name}) or 0 for name in names}


async def test_sign_ins_are_counted_by_outcome(accounts: Accounts, anna: Person) -> None:
    """Right, wrong and throttled ones; a registration is none."""
    before = outcomes()
    await accounts.sign_in(anna.email)
    for _ in range(7):
        await accounts.sign_in(anna.email, WRONG)
    await accounts.register(accounts.new_address())
    after = outcomes()
    assert {name: after[name] - before[name] for name in after} == {
        "ok": 1,
        "wrong": 5,
        "throttled": 2,
        "busy": 0,
    }
