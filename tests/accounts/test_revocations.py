"""Ended sessions are forgotten by every process, as soon as it hears of them."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from atelier import auth
from atelier.accounts import revocations
from atelier.accounts.families import Credentials
from atelier.auth import Authenticator
from tests.waiting import PATIENCE_SECONDS, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from conftest import Person

    from atelier.http.resources import Resources


@pytest.fixture(autouse=True)
def _long_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries are forgotten because of a message, not of the time that has passed."""
    monkeypatch.setattr(auth, "REMEMBER_SECONDS", 10 * PATIENCE_SECONDS)


@pytest.fixture
async def elsewhere(resources: Resources) -> AsyncIterator[Authenticator]:
    """The authenticator of another process, which listens."""
    there = Authenticator(resources.tokens, Credentials(resources.database, 30))
    async with following(resources.redis, there):
        yield there


@asynccontextmanager
async def following(redis: Redis, authenticator: Authenticator) -> AsyncIterator[None]:
    """Listen meanwhile, starting with an empty memory as a process does that begins to listen."""
    before = authenticator._drops
    task = asyncio.create_task(revocations.follow(redis, authenticator))
    await eventually(lambda: authenticator._drops != before)
    yield
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def forgotten(authenticator: Authenticator, authorization: str) -> None:
    """Return once the authenticator does not know the value any more."""
    await eventually(lambda: not authenticator.known(authorization))


@pytest.mark.parametrize("action", ["logout", "delete"])
async def test_the_end_of_a_session_reaches_other_processes(
    anna: Person, elsewhere: Authenticator, action: str
) -> None:
    """Long before the minute for which a token is remembered there."""
    authorization = anna.headers["Authorization"]
    await elsewhere.authenticate(authorization)
    assert (await getattr(anna, action)()).status_code == 204
    await forgotten(elsewhere, authorization)


async def test_so_does_the_end_of_a_stolen_family(
    anna: Person, elsewhere: Authenticator, grace_over: Callable[[], Awaitable[object]]
) -> None:
    """Reuse of a refresh token ends the access tokens everywhere."""
    authorization = anna.headers["Authorization"]
    await elsewhere.authenticate(authorization)
    await anna.refresh()
    await grace_over()
    assert (await anna.refresh()).status_code == 401
    await forgotten(elsewhere, authorization)


async def test_all_are_forgotten_at_once(
    anna: Person, elsewhere: Authenticator, redis: Redis
) -> None:
    """When an operator signs everybody out, there is no list of users to send."""
    authorization = anna.headers["Authorization"]
    await elsewhere.authenticate(authorization)
    await revocations.tell(redis, revocations.ALL)
    await forgotten(elsewhere, authorization)


async def test_others_are_not_forgotten(
    anna: Person, boris: Person, elsewhere: Authenticator, redis: Redis
) -> None:
    """Nor does rubbish on the channel do harm."""
    for person in (anna, boris):
        await elsewhere.authenticate(person.headers["Authorization"])
    for word in (b"", b"user", b"user x", b"session", b"\xff", "user ²".encode(), b"weather nice"):
        await redis.publish(revocations.CHANNEL, word)
    await anna.logout()
    await forgotten(elsewhere, anna.headers["Authorization"])
    assert elsewhere.known(boris.headers["Authorization"])


async def test_who_begins_to_listen_forgets_what_may_have_ended_before(
    anna: Person, resources: Resources
) -> None:
    """Messages that were sent while there was no listener are not repeated."""
    there = Authenticator(resources.tokens, Credentials(resources.database, 30))
    await there.authenticate(anna.headers["Authorization"])
    async with following(resources.redis, there):
        await forgotten(there, anna.headers["Authorization"])


async def test_without_redis_signing_out_works_here(
    anna: Person, resources: Resources, caplog: pytest.LogCaptureFixture
) -> None:
    """The others find out within a minute; the log says so."""
    async with Redis.from_url("unix:///nowhere/valkey.sock") as absent:
        resources.redis = absent
        assert (await anna.logout()).status_code == 204
    assert (await anna.me()).status_code == 401
    assert "within a minute" in caplog.text


async def test_a_listener_without_redis_tries_again_until_it_is_cancelled(
    resources: Resources, caplog: pytest.LogCaptureFixture
) -> None:
    """It does not take its process down."""
    caplog.set_level(logging.WARNING)
    async with Redis.from_url("unix:///nowhere/valkey.sock") as absent:
        task = asyncio.create_task(revocations.follow(absent, resources.authenticator))
        await eventually(lambda: "not hearing" in caplog.text)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
