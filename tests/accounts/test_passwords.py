"""Changing a password, and which passwords are refused."""

from __future__ import annotations

import asyncio
import unicodedata
from typing import TYPE_CHECKING

import pytest

from atelier.accounts.guessable import refuse_guessable
from atelier.errors import Invalid
from tests.problems import is_problem

if TYPE_CHECKING:
    import httpx2
    from conftest import Accounts, Person

    from atelier.http.resources import Resources

NEW = "a louder workshop"


class TestChange:
    """PUT /api/users/me/password."""

    async def test_the_new_one_counts(self, accounts: Accounts, anna: Person) -> None:
        """And the old one no longer; this session goes on, its refresh token too."""
        answer = await anna.new_password(accounts.password, NEW)
        assert (answer.status_code, answer.content) == (204, b"")
        assert (await anna.me()).status_code == 200
        assert (await anna.refresh()).status_code == 200
        assert (await accounts.sign_in(anna.email)).status_code == 401
        assert (await accounts.sign_in(anna.email, NEW)).status_code == 200

    async def test_every_other_session_ends(self, accounts: Accounts, anna: Person) -> None:
        """At once, also where its token was seen before; other people's go on."""
        other, boris = await accounts.enter(anna.email), await accounts.person()
        assert (await other.me()).status_code == 200
        await anna.new_password(accounts.password, NEW)
        assert (await other.me()).status_code == 401
        assert (await other.refresh()).status_code == 401
        assert (await boris.me()).status_code == 200

    async def test_the_present_one_must_be_right(self, accounts: Accounts, anna: Person) -> None:
        """A 403, which signs no client out, and nothing has changed."""
        assert is_problem(await anna.new_password("wrong password", NEW), 403, "wrong-password")
        assert (await anna.me()).status_code == 200
        assert (await accounts.sign_in(anna.email)).status_code == 200

    async def test_guesses_are_limited_together_with_signing_in(
        self, accounts: Accounts, anna: Person
    ) -> None:
        """Somebody at an open screen has no more of them than anybody else."""
        for _ in range(3):
            await anna.new_password("wrong password", NEW)
        for _ in range(2):
            await accounts.sign_in(anna.email, "wrong password")
        answer = await anna.new_password(accounts.password, NEW)
        assert is_problem(answer, 429, "too-many-requests")
        assert int(answer.headers["retry-after"]) >= 1

    async def test_of_two_at_once_one_wins(self, accounts: Accounts, anna: Person) -> None:
        """The other is told that its password is no longer the present one, or signed out."""
        other = await accounts.enter(anna.email)
        answers = await asyncio.gather(
            anna.new_password(accounts.password, NEW),
            other.new_password(accounts.password, "a third workshop"),
        )
        assert {answer.status_code for answer in answers} <= {204, 401, 403}
        assert [answer.status_code for answer in answers].count(204) == 1

    async def test_a_link_to_reset_it_is_dead_afterwards(
        self, accounts: Accounts, anna: Person, resources: Resources
    ) -> None:
        """Whoever has an old one cannot undo the change."""
        add = """
            INSERT INTO account_links (kind, token_sha256, user_id, created_at, expires_at)
            VALUES ('reset', $1, $2, now(), now() + interval '1 hour')
        """
        await resources.database.fetch(add, str(anna.id).encode(), anna.id)
        await anna.new_password(accounts.password, NEW)
        left = "SELECT 1 FROM account_links WHERE user_id = $1"
        assert not await resources.database.fetch(left, anna.id)

    @pytest.mark.parametrize("token", ["", "x", "x" * 200, "x" * 201, "\u0001", "ключ"])
    async def test_what_is_no_link_is_refused(
        self, client: httpx2.AsyncClient, token: str
    ) -> None:
        """Without a 500, whatever it is."""
        body = {"token": token, "password": NEW}
        answer = await client.post("/api/auth/reset", json=body)
        assert is_problem(answer, 403, "dead-link") or is_problem(answer, 422, "invalid")


class TestGuessable:
    """Passwords that are tried first."""

    @pytest.mark.parametrize(
        "password",
        ["password", "PassWord", "12345678", "qwertyuiop", "Football1", "iloveyou"],
    )
    async def test_the_commonest_are_refused(
        self, accounts: Accounts, anna: Person, password: str
    ) -> None:
        """When an account is made, and when a password is changed; the answer names the field."""
        refused = await accounts.register(accounts.new_address(), password)
        assert is_problem(refused, 422, "invalid")
        assert refused.json()["errors"][0]["loc"] == ["body", "password"]
        assert "commonest" in refused.json()["errors"][0]["msg"]
        changed = await anna.new_password(accounts.password, password)
        assert is_problem(changed, 422, "invalid")
        assert changed.json()["errors"][0]["loc"] == ["body", "new"]

    @pytest.mark.parametrize(
        "password",
        ["Anna.Karenina@example.org", "ANNA.KARENINA@EXAMPLE.ORG", "anna.karenina"],
    )
    def test_so_is_the_address(self, password: str) -> None:
        """All of it, or what stands before the @, however it is cased."""
        with pytest.raises(Invalid) as refused:
            refuse_guessable(password, "anna.karenina@example.org", "password")
        assert "address" in refused.value.errors[0]["msg"]

    @pytest.mark.parametrize("password", ["a quiet workshop", "пароль из слов", "anna.karenina!"])
    def test_others_are_taken(self, password: str) -> None:
        """Of a password that nobody tries first nothing else is asked."""
        refuse_guessable(password, "anna.karenina@example.org", "password")

    def test_composition_makes_no_difference(self) -> None:
        """An address that is typed on another keyboard is the same one."""
        decomposed = unicodedata.normalize("NFD", "ändrée.müller")
        with pytest.raises(Invalid):
            refuse_guessable(decomposed, "ÄNDRÉE.müller@example.org", "new")
