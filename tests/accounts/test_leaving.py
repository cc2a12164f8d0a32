"""Reading one's own account, and deleting it with everything."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from atelier.events import outbox
from tests.problems import is_problem

if TYPE_CHECKING:
    import httpx2
    from conftest import Accounts, Person
    from sqlalchemy.ext.asyncio import AsyncSession

    from atelier.http.resources import Resources


async def announced(resources: Resources, user_id: int) -> list[Any]:
    """The outbox's events about a user."""
    query = "SELECT type, sequence, data FROM outbox WHERE subject = $1 ORDER BY sequence"
    return await resources.database.fetch(query, f"users/{user_id}")


class TestMe:
    """GET /api/users/me."""

    async def test_it_shows_the_account(self, anna: Person) -> None:
        """As it was registered."""
        account = (await anna.me()).json()
        assert (account["id"], account["email"], account["tasks_created"]) == (
            anna.id,
            anna.email,
            0,
        )

    async def test_it_has_an_entity_tag(self, anna: Person, resources: Resources) -> None:
        """Which changes with the counter, and saves sending the same again."""
        tag = (await anna.me()).headers["etag"]
        headers = anna.headers | {"If-None-Match": tag}
        assert (await anna.client.get("/api/users/me", headers=headers)).status_code == 304
        set_counter = "UPDATE users SET tasks_created = $2 WHERE id = $1"
        await resources.database.fetch(set_counter, anna.id, 7)
        answer = await anna.client.get("/api/users/me", headers=headers)
        await resources.database.fetch(
            set_counter, anna.id, 0
        )  # other tests compare the counters with their total
        assert (answer.status_code, answer.json()["tasks_created"]) == (200, 7)


class TestName:
    """PATCH /api/users/me."""

    async def test_a_name_is_given_and_taken_away(self, anna: Person) -> None:
        """In NFC, on one line; null takes it away, and a field left out stays."""
        answer = await anna.change(name="  Anna \n Kare\u0301nina ")
        assert (answer.status_code, answer.json()["name"]) == (200, "Anna Karénina")
        assert (await anna.change()).json()["name"] == "Anna Karénina"
        assert (await anna.me()).json() == answer.json()
        assert (await anna.change(name=None)).json()["name"] is None

    async def test_its_entity_tag_changes_with_it(self, anna: Person) -> None:
        """Who has not seen the present name does not overwrite it."""
        tag = (await anna.me()).headers["etag"]
        changed = await anna.change({"If-Match": tag}, name="Anna")
        assert changed.status_code == 200
        assert changed.headers["etag"] == (await anna.me()).headers["etag"] != tag
        stale = await anna.change({"If-Match": tag}, name="Boris")
        assert is_problem(stale, 412, "precondition-failed")
        assert (await anna.me()).json()["name"] == "Anna"

    @pytest.mark.parametrize(
        "name", ["", "  ", "x" * 101, "x" * 100_000, "a\u0007b", 7, True, ["a"]]
    )
    async def test_what_is_no_name_is_refused(self, anna: Person, name: Any) -> None:
        """The answer names the field."""
        answer = await anna.change(name=name)
        assert is_problem(answer, 422, "invalid")
        assert answer.json()["errors"][0]["loc"] == ["body", "name"]

    async def test_a_hundred_characters_are_a_name(self, anna: Person) -> None:
        """Counted after normalisation."""
        assert (await anna.change(name="e\u0301" * 100)).json()["name"] == "é" * 100

    @pytest.mark.parametrize("field", ["email", "administrator", "id", "tasks_created"])
    async def test_nothing_else_can_be_changed(self, anna: Person, field: str) -> None:
        """Above all not what one may."""
        before = (await anna.me()).json()
        assert is_problem(await anna.change(**{field: True}), 422, "invalid")
        assert (await anna.me()).json() == before


class TestLeave:
    """DELETE /api/users/{id}."""

    @pytest.mark.parametrize("path", ["/api/users", "/user"])
    async def test_one_deletes_oneself(self, accounts: Accounts, anna: Person, path: str) -> None:
        """Afterwards the tokens are dead, signing in fails, and the address is free."""
        assert (await anna.me()).status_code == 200
        answer = await anna.delete(path=path)
        assert (answer.status_code, answer.content) == (204, b"")
        assert (await anna.me()).status_code == 401
        assert (await anna.refresh()).status_code == 401
        assert (await accounts.sign_in(anna.email)).status_code == 401
        again = await accounts.register(anna.email)
        assert again.status_code == 201
        assert again.json()["id"] != anna.id

    async def test_one_cannot_delete_other_accounts(self, anna: Person, boris: Person) -> None:
        """The answer is 403 for an existing account and for one that never was."""
        for user_id in (boris.id, 2**40, 2**70):
            assert is_problem(await anna.delete(user_id), 403, "forbidden")
        assert (await boris.me()).status_code == 200

    async def test_deleting_needs_a_token(self, client: httpx2.AsyncClient, anna: Person) -> None:
        """Without a token the answer is 401."""
        assert (await client.delete(f"/api/users/{anna.id}")).status_code == 401

    @pytest.mark.parametrize("user_id", ["mine", "1.5", "%20", "1e3"])
    async def test_what_is_no_id_is_refused(
        self, client: httpx2.AsyncClient, anna: Person, user_id: str
    ) -> None:
        """By its schema."""
        answer = await client.delete(f"/api/users/{user_id}", headers=anna.headers)
        assert answer.status_code == 422

    async def test_it_is_announced(self, anna: Person, resources: Resources) -> None:
        """As the next event of its subject, without secrets."""
        await anna.delete()
        events = await announced(resources, anna.id)
        assert [(event["type"], event["sequence"]) for event in events] == [
            ("user.created", 1),
            ("user.deleted", 2),
        ]
        assert "argon2" not in events[1]["data"]

    async def test_other_slices_forget_in_the_same_transaction(
        self, anna: Person, resources: Resources
    ) -> None:
        """Slices' deletions and events are there if and only if the user is gone."""
        seen: list[int] = []

        async def forget(session: AsyncSession, user_id: int) -> None:
            assert await session.scalar(
                text("SELECT 1 FROM users WHERE id = :id"), {"id": user_id}
            )
            outbox.record(session, "image.deleted", f"images/of-{user_id}", 1, {})
            seen.append(user_id)

        async def fail(session: AsyncSession, user_id: int) -> None:
            raise LookupError("this slice cannot")

        count = "SELECT 1 FROM outbox WHERE subject = $1"
        resources.forget = (forget, fail)
        assert (await anna.delete()).status_code == 500
        assert not await resources.database.fetch(count, f"images/of-{anna.id}")
        assert (await anna.me()).status_code == 200
        resources.forget = (forget,)
        assert (await anna.delete()).status_code == 204
        assert len(await resources.database.fetch(count, f"images/of-{anna.id}")) == 1
        assert seen == [anna.id] * 2

    async def test_nothing_of_the_user_stays(self, anna: Person, resources: Resources) -> None:
        """No row, no session, no kept answer."""
        insert = """INSERT INTO idempotency_keys (
                      scope, key, fingerprint, state, created_at, locked_at
                    )
                    VALUES ($1, 'k', '', 'done', now(), now())"""
        await resources.database.fetch(insert, f"{anna.id} POST /api/tasks")
        await anna.delete()
        for query in (
            "SELECT 1 FROM users WHERE id = $1",
            "SELECT 1 FROM refresh_families WHERE user_id = $1",
            "SELECT 1 FROM idempotency_keys WHERE scope LIKE $1 || ' %'",
        ):
            argument = str(anna.id) if "LIKE" in query else anna.id
            assert not await resources.database.fetch(query, argument)

    async def test_the_kept_answer_of_their_registration_goes_too(
        self, accounts: Accounts, resources: Resources
    ) -> None:
        """It holds the address; those of others stay."""
        keys = [str(uuid.uuid4()) for _ in range(2)]
        emails = [accounts.new_address() for _ in keys]
        for email, key in zip(emails, keys, strict=True):
            assert (
                await accounts.register(email, headers={"Idempotency-Key": key})
            ).status_code == 201
        anna = await accounts.enter(emails[0])
        await anna.delete()
        left = await resources.database.fetch(
            "SELECT key FROM idempotency_keys WHERE key = any($1)", keys
        )
        assert [row["key"] for row in left] == keys[1:]

    async def test_twice_at_once_deletes_once(self, anna: Person, resources: Resources) -> None:
        """One 204, and one event."""
        answers = await asyncio.gather(*(anna.delete() for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [204, 401, 401, 401]
        assert len(await announced(resources, anna.id)) == 2

    async def test_if_match_is_honoured(self, anna: Person) -> None:
        """Only the account that one has seen is deleted."""
        tag = (await anna.me()).headers["etag"]
        path = f"/api/users/{anna.id}"
        stale = await anna.client.delete(path, headers=anna.headers | {"If-Match": '"other"'})
        assert is_problem(stale, 412, "precondition-failed")
        assert (
            await anna.client.delete(path, headers=anna.headers | {"If-Match": tag})
        ).status_code == 204

    async def test_a_password_that_is_given_is_checked(
        self, accounts: Accounts, anna: Person
    ) -> None:
        """A wrong one deletes nothing; none at all is as before."""
        path = f"/api/users/{anna.id}"
        wrong = {"password": "wrong password"}
        answer = await anna.client.request("DELETE", path, json=wrong, headers=anna.headers)
        assert is_problem(answer, 403, "wrong-password")
        assert (await anna.me()).status_code == 200
        right = {"password": accounts.password}
        answer = await anna.client.request("DELETE", path, json=right, headers=anna.headers)
        assert answer.status_code == 204

    @pytest.mark.parametrize("body", [{"password": 7}, {"password": ""}, {"pass": "x"}, [], "x"])
    async def test_another_body_deletes_nothing(self, anna: Person, body: Any) -> None:
        """A confirmation that is misspelt is none."""
        path = f"/api/users/{anna.id}"
        answer = await anna.client.request("DELETE", path, json=body, headers=anna.headers)
        assert is_problem(answer, 422, "invalid")
        assert (await anna.me()).status_code == 200

    async def test_a_sign_in_that_meets_the_deletion_opens_nothing(
        self, accounts: Accounts, anna: Person
    ) -> None:
        """In either order, no session is left afterwards and nothing fails."""
        answers = await asyncio.gather(
            anna.delete(), *(accounts.sign_in(anna.email) for _ in range(4))
        )
        assert answers[0].status_code == 204
        assert {answer.status_code for answer in answers[1:]} <= {200, 401}
        for answer in answers[1:]:
            if answer.status_code == 200:
                anna.pair = answer.json()
                assert (await anna.me()).status_code == 401
