"""POST /api/auth/token, and the limit on failures."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx2
import pytest
from argon2 import PasswordHasher
from argon2.profiles import RFC_9106_LOW_MEMORY

from atelier.auth import Passwords
from tests.problems import is_problem

if TYPE_CHECKING:
    from conftest import Accounts, Person
    from fastapi import FastAPI
    from redis.asyncio import Redis

    from atelier.http.resources import Resources


class TestSignIn:
    """POST /api/auth/token."""

    async def test_it_gives_a_pair(self, accounts: Accounts, anna: Person) -> None:
        """By the password form of OAuth 2, and caches must not store it."""
        answer = await accounts.sign_in(anna.email)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        pair = answer.json()
        assert set(pair) == {"access_token", "token_type", "expires_in", "refresh_token"}
        assert (pair["token_type"], pair["expires_in"]) == ("bearer", 900)

    async def test_it_works_over_a_socket(self, online_accounts: Accounts) -> None:
        """From registration to the first request, through a real server."""
        boris = await online_accounts.person()
        assert (await boris.me()).json()["email"] == boris.email

    async def test_the_address_may_be_cased_otherwise(
        self, accounts: Accounts, anna: Person
    ) -> None:
        """People do not remember how they cased it."""
        assert (await accounts.sign_in(anna.email.upper())).status_code == 200

    @pytest.mark.parametrize(
        "password", ["a quiet Workshop", "a quiet workshop ", "x", "x" * 4000, "\u0000"]
    )
    async def test_a_wrong_password_is_refused(
        self, accounts: Accounts, anna: Person, password: str
    ) -> None:
        """Whatever it is."""
        answer = await accounts.sign_in(anna.email, password)
        assert is_problem(answer, 401, "wrong-credentials")
        assert answer.headers["www-authenticate"].startswith("Bearer")

    @pytest.mark.parametrize(
        "email",
        ["nobody@example.org", "nobody", "a\u0000b@example.org", "' OR 1=1 --", "x" * 3000],
    )
    async def test_an_unknown_user_gets_the_same_answer_after_the_same_work(
        self, accounts: Accounts, anna: Person, email: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing tells who has an account: not the answer, and not whether the verifier ran."""
        verified: list[str | None] = []
        verify = Passwords.verify

        async def watched(
            self: Passwords, encoded: str | None, password: str, client: str
        ) -> bool:
            verified.append(encoded)
            return await verify(self, encoded, password, client)

        monkeypatch.setattr(Passwords, "verify", watched)
        wrong, unknown = (
            await accounts.sign_in(anna.email, "wrong password"),
            await accounts.sign_in(email),
        )
        assert unknown.status_code == wrong.status_code == 401
        assert unknown.json() == wrong.json()
        assert [encoded is not None for encoded in verified] == [True, False]

    @pytest.mark.parametrize(
        ("content_type", "body", "status"),
        [
            ("application/x-www-form-urlencoded", b"", 422),
            ("application/x-www-form-urlencoded", b"username=a", 422),
            ("application/x-www-form-urlencoded", b"password=a", 422),
            ("application/x-www-form-urlencoded", b"username=&password=", 422),
            ("application/x-www-form-urlencoded", b"username=a&username=b&password=c", 422),
            (
                "application/x-www-form-urlencoded",
                b"grant_type=client_credentials&username=a&password=b",
                422,
            ),
            ("application/x-www-form-urlencoded", b"username=%FF&password=b", 400),
            ("application/x-www-form-urlencoded", b"\xff\xfe", 400),
            ("application/x-www-form-urlencoded", b"&".join(b"a=%d" % n for n in range(50)), 400),
            ("application/x-www-form-urlencoded", b"username=" + b"a" * 9000, 413),
            ("application/json", b'{"username": "a", "password": "b"}', 415),
            ("", b"username=a&password=b", 415),
        ],
    )
    async def test_what_is_no_form_is_refused(
        self, client: httpx2.AsyncClient, content_type: str, body: bytes, status: int
    ) -> None:
        """With the reason, before anybody is looked up."""
        answer = await client.post(
            "/api/auth/token", content=body, headers={"content-type": content_type}
        )
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"

    async def test_a_form_with_charset_and_grant_type_is_understood(
        self, client: httpx2.AsyncClient, anna: Person
    ) -> None:
        """As Swagger UI and OAuth libraries send it."""
        answer = await client.post(
            "/api/auth/token",
            data={
                "grant_type": "password",
                "username": anna.email,
                "password": "a quiet workshop",
                "scope": "",
            },
            headers={"content-type": "application/x-www-form-urlencoded; charset=UTF-8"},
        )
        assert answer.status_code == 200

    async def test_a_hash_of_old_parameters_is_made_anew(
        self, accounts: Accounts, anna: Person, resources: Resources
    ) -> None:
        """At the next sign-in, the only moment at which the password is known."""
        old = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY).hash(accounts.password)
        await resources.database.fetch(
            "UPDATE users SET password_hash = $1 WHERE id = $2", old, anna.id
        )
        assert (await accounts.sign_in(anna.email)).status_code == 200
        row = await resources.database.fetchrow(
            "SELECT password_hash FROM users WHERE id = $1", anna.id
        )
        assert row is not None
        assert row["password_hash"] != old
        assert (await accounts.sign_in(anna.email)).status_code == 200


class TestLockout:
    """Five failures a minute per address and client."""

    async def test_the_sixth_attempt_waits(self, accounts: Accounts, anna: Person) -> None:
        """Even with the right password; the answer says how long."""
        for _ in range(5):
            assert (await accounts.sign_in(anna.email, "wrong password")).status_code == 401
        answer = await accounts.sign_in(anna.email)
        assert is_problem(answer, 429, "too-many-requests")
        assert 1 <= int(answer.headers["retry-after"]) <= 60

    async def test_a_burst_gets_no_more_attempts(self, accounts: Accounts, anna: Person) -> None:
        """Twenty at once are checked one after the other."""
        answers = await asyncio.gather(
            *(accounts.sign_in(anna.email, "wrong password") for _ in range(20))
        )
        assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 15

    async def test_success_does_not_count(self, accounts: Accounts, anna: Person) -> None:
        """With the right password one signs in as often as one likes, in turn or at once."""
        answers = await asyncio.gather(*(accounts.sign_in(anna.email) for _ in range(8)))
        assert {answer.status_code for answer in answers} == {200}

    async def test_the_casing_of_the_address_does_not_start_anew(
        self, accounts: Accounts, anna: Person
    ) -> None:
        """It is one address."""
        for _ in range(5):
            await accounts.sign_in(anna.email.upper(), "wrong password")
        assert (await accounts.sign_in(anna.email)).status_code == 429

    async def test_other_addresses_are_not_affected(
        self, accounts: Accounts, anna: Person, boris: Person
    ) -> None:
        """From the same client."""
        for _ in range(6):
            await accounts.sign_in(anna.email, "wrong password")
        assert (await accounts.sign_in(boris.email)).status_code == 200

    async def test_an_unknown_address_is_limited_too(self, accounts: Accounts) -> None:
        """Else the limit would tell who has an account."""
        email = accounts.new_address()
        answers = [(await accounts.sign_in(email)).status_code for _ in range(6)]
        assert answers == [401] * 5 + [429]

    async def test_another_client_is_not_locked_out(
        self, app: FastAPI, accounts: Accounts, anna: Person
    ) -> None:
        """A stranger's failures do not keep the owner out."""
        for _ in range(6):
            await accounts.sign_in(anna.email, "wrong password")
        elsewhere = httpx2.ASGITransport(app, client=("192.0.2.7", 50000))
        async with httpx2.AsyncClient(transport=elsewhere, base_url="http://localhost") as client:
            form = {"username": anna.email, "password": accounts.password}
            assert (await client.post("/api/auth/token", data=form)).status_code == 200

    async def test_redis_holds_no_address(
        self, accounts: Accounts, anna: Person, redis: Redis
    ) -> None:
        """Only a digest."""
        await accounts.sign_in(anna.email, "wrong password")
        keys = [key async for key in redis.scan_iter("*logins*")]
        assert keys
        assert not any(anna.email.partition("@")[0].encode() in key for key in keys)
