"""Refreshing and signing out."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from atelier.accounts import families

if TYPE_CHECKING:
    import httpx2
    from conftest import Accounts, Person

    from atelier.http.resources import Resources


UNKNOWN = uuid.UUID(int=7).hex  # a family that is not there


def is_problem(answer: httpx2.Response, status: int, slug: str) -> bool:
    """True if the answer is this problem."""
    return (
        answer.status_code == status
        and answer.headers["content-type"] == "application/problem+json"
        and answer.json()["type"].endswith(f"/{slug}")
    )


class TestRefresh:
    """POST /api/auth/refresh."""

    async def test_it_gives_the_next_pair(self, anna: Person) -> None:
        """Which works."""
        answer = await anna.refresh()
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        old, anna.pair = anna.pair, answer.json()
        assert anna.pair["refresh_token"] != old["refresh_token"]
        assert (await anna.me()).status_code == 200
        assert (await anna.refresh()).status_code == 200

    async def test_reuse_kills_the_family(self, anna: Person) -> None:
        """The old token, its successor and the family's access tokens are all revoked."""
        stolen = anna.pair["refresh_token"]
        anna.pair = (await anna.refresh()).json()
        assert (await anna.me()).status_code == 200
        assert is_problem(await anna.refresh(stolen), 401, "dead-refresh-token")
        assert is_problem(await anna.refresh(), 401, "dead-refresh-token")
        assert is_problem(await anna.me(), 401, "unauthenticated")

    async def test_other_sign_ins_of_the_user_live_on(
        self, accounts: Accounts, anna: Person
    ) -> None:
        """A family is one sign-in."""
        other = (await accounts.sign_in(anna.email)).json()
        stolen = anna.pair["refresh_token"]
        await anna.refresh()
        await anna.refresh(stolen)
        anna.pair = other
        assert (await anna.me()).status_code == 200
        assert (await anna.refresh()).status_code == 200

    async def test_of_many_at_once_one_wins(self, anna: Person) -> None:
        """One token is exchanged once, and the others count as reuse."""
        answers = await asyncio.gather(*(anna.refresh() for _ in range(10)))
        assert sorted(answer.status_code for answer in answers) == [200] + [401] * 9
        anna.pair = next(answer for answer in answers if answer.status_code == 200).json()
        assert (await anna.me()).status_code == 401

    async def test_an_expired_token_is_dead(self, anna: Person, resources: Resources) -> None:
        """After `refresh_token_days` without use."""
        await resources.database.fetch(
            "UPDATE refresh_families SET expires_at = now() WHERE user_id = $1", anna.id
        )
        assert is_problem(await anna.refresh(), 401, "dead-refresh-token")

    async def test_use_prolongs_its_life(self, anna: Person, resources: Resources) -> None:
        """The next token has the full life again."""
        soon = (
            "UPDATE refresh_families SET expires_at = now() + interval '1 minute' WHERE "
            "user_id = $1"
        )
        await resources.database.fetch(soon, anna.id)
        await anna.refresh()
        left = (
            "SELECT expires_at > now() + interval '29 days' AS long FROM refresh_families "
            "WHERE user_id = $1"
        )
        row = await resources.database.fetchrow(left, anna.id)
        assert row is not None
        assert row["long"]

    @pytest.mark.parametrize(
        "token", ["x", ".", "a.b", f"{UNKNOWN}.x", UNKNOWN, "\u0001.\u0001", "ключ.ключ"]
    )
    async def test_what_is_no_refresh_token_is_refused(self, anna: Person, token: str) -> None:
        """Without a 500 whatever it is."""
        assert is_problem(await anna.refresh(token), 401, "dead-refresh-token")

    async def test_an_access_token_does_not_refresh(self, anna: Person) -> None:
        """It is refused, and costs its owner nothing."""
        assert (await anna.refresh(anna.pair["access_token"])).status_code in {401, 422}
        assert (await anna.refresh()).status_code == 200

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"refresh_token": None},
            {"refresh_token": 7},
            {"refresh_token": ""},
            {"refresh_token": "x" * 201},
            [],
        ],
    )
    async def test_what_is_no_request_is_refused(
        self, client: httpx2.AsyncClient, body: Any
    ) -> None:
        """By its schema."""
        assert is_problem(await client.post("/api/auth/refresh", json=body), 422, "invalid")

    async def test_at_rest_tokens_are_digests(self, anna: Person, resources: Resources) -> None:
        """A reader of the table cannot sign in."""
        rows = await resources.database.fetch(
            "SELECT * FROM refresh_families WHERE user_id = $1", anna.id
        )
        secret = anna.pair["refresh_token"].partition(".")[2]
        assert [row["token_sha256"] for row in rows] == [hashlib.sha256(secret.encode()).digest()]

    async def test_expired_families_are_purged(
        self, anna: Person, boris: Person, resources: Resources
    ) -> None:
        """A day after their end; the others stay."""
        old = (
            "UPDATE refresh_families SET expires_at = now() - interval '25 hours' WHERE "
            "user_id = $1"
        )
        await resources.database.fetch(old, anna.id)
        assert await families.purge(resources.database) == 1
        assert (await boris.refresh()).status_code == 200


class TestSignOut:
    """POST /api/auth/logout."""

    async def test_the_session_is_over(self, anna: Person) -> None:
        """For access tokens that were used before, at once, and for the refresh token."""
        assert (await anna.me()).status_code == 200
        answer = await anna.logout()
        assert (answer.status_code, answer.content) == (204, b"")
        assert (await anna.me()).status_code == 401
        assert (await anna.refresh()).status_code == 401
        assert (await anna.logout()).status_code == 401

    async def test_other_sessions_live_on(self, accounts: Accounts, anna: Person) -> None:
        """Signing out on one machine does not sign out on another."""
        other = (await accounts.sign_in(anna.email)).json()
        await anna.logout()
        anna.pair = other
        assert (await anna.me()).status_code == 200

    async def test_it_needs_a_token(self, client: httpx2.AsyncClient) -> None:
        """Else there is no session to sign out."""
        assert (await client.post("/api/auth/logout")).status_code == 401
