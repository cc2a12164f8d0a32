"""POST /api/users over a real database."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from tests.problems import is_problem

if TYPE_CHECKING:
    import httpx2
    from conftest import Accounts, Person

    from atelier.http.resources import Resources


async def announced(resources: Resources, user_id: int) -> list[Any]:
    """The outbox's events about a user."""
    query = "SELECT type, sequence, data FROM outbox WHERE subject = $1 ORDER BY sequence"
    return await resources.database.fetch(query, f"users/{user_id}")


class TestRegister:
    """POST /api/users."""

    async def test_an_account_is_made(self, accounts: Accounts) -> None:
        """The answer shows the account, and never the password."""
        email = accounts.new_address()
        answer = await accounts.register(email)
        assert answer.status_code == 201
        assert answer.headers["location"] == "/api/users/me"
        account = answer.json()
        assert set(account) == {
            "id",
            "email",
            "name",
            "administrator",
            "tasks_created",
            "created_at",
        }
        assert (account["email"], account["tasks_created"]) == (email, 0)
        assert datetime.fromisoformat(account["created_at"]).utcoffset() == timedelta(0)

    async def test_the_literal_path_of_the_first_version_answers_too(
        self, client: httpx2.AsyncClient, accounts: Accounts
    ) -> None:
        """Clients of `/users` need not change."""
        body = {"email": accounts.new_address(), "password": accounts.password}
        assert (await client.post("/users", json=body)).status_code == 201

    @pytest.mark.parametrize(
        "other",
        [str.upper, str.title, lambda email: email.replace("@", "@").swapcase()],
        ids=["upper", "title", "swap"],
    )
    async def test_an_address_has_one_account_however_it_is_cased(
        self, accounts: Accounts, other: Any
    ) -> None:
        """The second is refused as a conflict."""
        email = accounts.new_address()
        await accounts.register(email)
        assert is_problem(await accounts.register(other(email)), 409, "address-taken")

    async def test_folding_goes_beyond_ascii(self, accounts: Accounts) -> None:
        """ß and SS are one, as case folding has it."""
        name = uuid.uuid4().hex
        assert (await accounts.register(f"{name}stra\u00dfe@example.org")).status_code == 201
        assert (await accounts.register(f"{name}STRASSE@example.org")).status_code == 409

    async def test_of_many_registrations_at_once_one_wins(self, accounts: Accounts) -> None:
        """No answer is a 500, and there is one account."""
        email = accounts.new_address()
        answers = await asyncio.gather(*(accounts.register(email) for _ in range(10)))
        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9

    @pytest.mark.parametrize(
        "email",
        [
            "",
            "anna",
            "anna@",
            "@example.org",
            "anna@example",
            "a@b@c.org",
            "anna @example.org",
            "anna@exam ple.org",
            "anna@example.org\n",
            "an\u0000na@example.org",
            "anna\u0007@example.org",
            "anna@[127.0.0.1]",
            "Anna <anna@example.org>",
            "anna..b@example.org",
            "x" * 65 + "@example.org",
            "anna@" + "x" * 250 + ".org",
            None,
            7,
            ["anna@example.org"],
        ],
    )
    async def test_what_is_no_address_is_refused(self, accounts: Accounts, email: Any) -> None:
        """The answer names the field."""
        answer = await accounts.register(email)
        assert is_problem(answer, 422, "invalid")
        assert "\0" in str(email) or answer.json()["errors"][0]["loc"] == ["body", "email"]

    @pytest.mark.parametrize(
        "password",
        [
            "",
            "x" * 7,
            "x" * 129,
            "with\u0000nul-inside",
            "with\nnewline",
            "bell\u0007bell",
            None,
            12345678,
            True,
        ],
    )
    async def test_what_is_no_password_is_refused(self, accounts: Accounts, password: Any) -> None:
        """The answer names the field and does not repeat what was sent."""
        answer = await accounts.register(accounts.new_address(), password)
        assert is_problem(answer, 422, "invalid")
        assert "\0" in str(password) or answer.json()["errors"][0]["loc"] == ["body", "password"]
        assert "input" not in answer.text

    @pytest.mark.parametrize(
        "password", ["x4" * 4, "x" * 128, "три слова подряд", "🔑" * 128, "        "]
    )
    async def test_a_password_at_the_limits_works(self, accounts: Accounts, password: str) -> None:
        """Length counts characters; any printable one may be in it."""
        email = accounts.new_address()
        assert (await accounts.register(email, password)).status_code == 201
        assert (await accounts.sign_in(email, password)).status_code == 200

    @pytest.mark.parametrize(
        "body",
        [b"", b"{", b"[]", b"null", b'{"email": "a@example.org"}', b'{"password": "x"}', b"\xff"],
    )
    async def test_what_is_no_registration_is_refused(
        self, client: httpx2.AsyncClient, body: bytes
    ) -> None:
        """Whatever is sent, the answer is a problem of the client's."""
        answer = await client.post(
            "/api/users", content=body, headers={"content-type": "application/json"}
        )
        assert is_problem(answer, 422, "invalid") or is_problem(answer, 400, "malformed")

    async def test_it_is_announced_without_secrets(
        self, resources: Resources, anna: Person
    ) -> None:
        """`user.created` is the first event of its subject."""
        events = await announced(resources, anna.id)
        assert [(event["type"], event["sequence"]) for event in events] == [("user.created", 1)]
        assert set(orjson.loads(events[0]["data"])) == {"id", "email", "created_at"}

    async def test_a_refused_registration_announces_nothing(
        self, resources: Resources, accounts: Accounts, anna: Person
    ) -> None:
        """Nothing is announced that did not happen."""
        count = "SELECT count(*) FROM outbox"
        before = await resources.database.fetchrow(count)
        await accounts.register(anna.email)
        assert await resources.database.fetchrow(count) == before

    async def test_the_password_is_stored_as_argon2id(
        self, resources: Resources, anna: Person
    ) -> None:
        """And in no other form."""
        row = await resources.database.fetchrow("SELECT * FROM users WHERE id = $1", anna.id)
        assert row is not None
        assert row["password_hash"].startswith("$argon2id$")
        assert "workshop" not in str(row)

    async def test_the_same_key_and_body_replays(self, accounts: Accounts) -> None:
        """A client that lost the answer gets it again; a 409 would tell it a lie."""
        email, headers = accounts.new_address(), {"Idempotency-Key": str(uuid.uuid4())}
        first, second = [await accounts.register(email, headers=headers) for _ in range(2)]
        assert (first.status_code, second.status_code) == (201, 201)
        assert first.content == second.content
        assert second.headers["idempotent-replayed"] == "true"
        assert second.headers["location"] == first.headers["location"]

    async def test_the_same_key_with_another_password_is_refused(self, accounts: Accounts) -> None:
        """Each part of the body counts."""
        email, headers = accounts.new_address(), {"Idempotency-Key": str(uuid.uuid4())}
        await accounts.register(email, headers=headers)
        answer = await accounts.register(email, "another password", headers=headers)
        assert is_problem(answer, 422, "idempotency-key-reused")

    async def test_a_conflict_is_not_replayed(self, accounts: Accounts, anna: Person) -> None:
        """The key is free for the next attempt."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        assert (await accounts.register(anna.email, headers=headers)).status_code == 409
        assert (
            await accounts.register(accounts.new_address(), headers=headers)
        ).status_code == 201

    async def test_at_rest_no_digest_of_a_password_can_be_guessed_at(
        self, accounts: Accounts, resources: Resources
    ) -> None:
        """The kept fingerprint needs the server's secret."""
        email, key = accounts.new_address(), str(uuid.uuid4())
        await accounts.register(email, headers={"Idempotency-Key": key})
        row = await resources.database.fetchrow(
            "SELECT fingerprint FROM idempotency_keys WHERE key = $1", key
        )
        content = orjson.dumps([email, accounts.password])
        assert row is not None
        assert row["fingerprint"] == resources.tokens.digest("register", content)
        assert row["fingerprint"] != hashlib.sha256(content).digest()
