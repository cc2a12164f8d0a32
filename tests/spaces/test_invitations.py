"""Invitations: one-time links by which people come into a space."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from atelier.accounts import operators
from tests.application import PASSWORD
from tests.problems import is_problem
from tests.spaces.conftest import Person, announced

if TYPE_CHECKING:
    from fastapi import FastAPI

    from atelier.http.resources import Resources


class TestInvite:
    """POST, GET and DELETE /api/invitations."""

    async def test_its_token_is_shown_once(self, ada: Person, resources: Resources) -> None:
        """The list has none, the database a digest alone; a repeat under a key has the same."""
        space_id = await ada.space()
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        body = {"space_id": space_id, "role": "worker", "email": "Eve@Example.org"}
        first, again = [
            await ada.post("/api/invitations", json=body, headers=headers) for _ in range(2)
        ]
        assert first.json() == again.json()
        assert first.headers["cache-control"] == again.headers["cache-control"] == "no-store"
        record = first.json()
        token, link = record.pop("token"), record.pop("link")
        assert link == f"{resources.settings.base_url}/invitation#{token}"
        assert (await ada.get("/api/invitations")).json() == [record]
        for table in ("account_links", "idempotency_keys"):
            rows = await resources.database.fetch(f"SELECT * FROM {table}")
            assert token not in str([dict(row) for row in rows])
        types = await announced(resources, f"spaces/{space_id}")
        assert types[-1] == "invitation.created"

    async def test_owners_alone_invite(self, ada: Person, bob: Person, eve: Person) -> None:
        """They see and withdraw all of a space's; editors none, and strangers no space."""
        space_id = await ada.space()
        await ada.let_in(space_id, bob)
        made = await ada.invite(space_id)
        body = {"space_id": space_id, "role": "viewer"}
        path = f"/api/invitations/{made['id']}"
        assert is_problem(await bob.post("/api/invitations", json=body), 403, "not-allowed")
        assert is_problem(await eve.post("/api/invitations", json=body), 404, "not-found")
        assert (await bob.get("/api/invitations")).json() == []
        assert is_problem(await bob.delete(path), 403, "not-allowed")
        assert is_problem(await eve.delete(path), 404, "not-found")
        await ada.put(f"/api/spaces/{space_id}/members/{bob.id}", json={"role": "owner"})
        assert [one["id"] for one in (await bob.get("/api/invitations")).json()] == [made["id"]]
        assert (await bob.delete(path)).status_code == 204
        assert is_problem(await bob.delete(path), 404, "not-found")
        assert is_problem(await eve.accept(made["token"]), 403, "dead-link")

    async def test_the_operators_are_not_among_them(
        self, ada: Person, resources: Resources
    ) -> None:
        """Theirs open no space, and nobody withdraws them here."""
        await operators.invite(resources.database, None)
        row = await resources.database.fetchrow("SELECT max(id) AS id FROM account_links")
        assert row
        assert is_problem(await ada.delete(f"/api/invitations/{row['id']}"), 404, "not-found")

    async def test_a_space_has_so_many_open_ones(
        self, ada: Person, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Counted exactly, however many are asked for at once."""
        monkeypatch.setattr("atelier.accounts.invitations.INVITATIONS_LIMIT", 2)
        body = {"space_id": await ada.space(), "role": "viewer"}
        answers = await asyncio.gather(
            *(ada.post("/api/invitations", json=body) for _ in range(4))
        )
        assert sorted(answer.status_code for answer in answers) == [201, 201, 409, 409]
        refused = await ada.post("/api/invitations", json=body)
        assert is_problem(refused, 409, "too-many-invitations")

    @pytest.mark.parametrize(
        "changed", [{"role": "king"}, {"email": "no address"}, {"space_id": "1"}, {"other": 1}]
    )
    async def test_another_body_is_refused(self, ada: Person, changed: dict[str, Any]) -> None:
        """Nothing is guessed."""
        body = {"space_id": await ada.space(), "role": "viewer"} | changed
        assert is_problem(await ada.post("/api/invitations", json=body), 422, "invalid")


class TestAccept:
    """POST /api/invitations/accept."""

    async def test_who_is_signed_in_comes_in(
        self, ada: Person, bob: Person, resources: Resources
    ) -> None:
        """At once, with the role that the invitation says; the link is used up."""
        space_id = await ada.space()
        token = (await ada.invite(space_id, "worker"))["token"]
        assert (await bob.get(f"/api/spaces/{space_id}")).status_code == 404
        answer = await bob.accept(token)
        assert (answer.status_code, answer.json()) == (
            201,
            {"space_id": space_id, "role": "worker", "user_id": bob.id},
        )
        assert (await bob.get(f"/api/spaces/{space_id}")).json()["role"] == "worker"
        assert (await ada.get("/api/invitations")).json() == []
        types = await announced(resources, f"spaces/{space_id}")
        assert types[2:] == ["invitation.created", "invitation.accepted", "member.added"]

    @pytest.mark.parametrize("path", ["/api/invitations/accept", "/api/users"])
    async def test_it_makes_an_account(
        self,
        ada: Person,
        newcomer: Person,
        resources: Resources,
        monkeypatch: pytest.MonkeyPatch,
        path: str,
    ) -> None:
        """Where accounts are made by invitation alone, too, by either call."""
        only_invited = resources.settings.model_copy(update={"registration": "invited"})
        monkeypatch.setattr(resources, "settings", only_invited)
        space_id = await ada.space()
        token = (await ada.invite(space_id, email=newcomer.email))["token"]
        field = "invitation" if path == "/api/users" else "token"
        body = {field: token, "email": newcomer.email, "password": PASSWORD}
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        answers = [await newcomer.post(path, json=body, headers=headers) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [201, 201]
        assert answers[0].json() == answers[1].json()
        await newcomer.enter(register=False)
        assert await newcomer.roles(space_id) == {ada.id: "owner", newcomer.id: "editor"}
        types = await announced(resources, f"spaces/{space_id}")
        assert types[-2:] == ["invitation.accepted", "member.added"]

    async def test_a_closed_instance_makes_none(
        self,
        ada: Person,
        newcomer: Person,
        resources: Resources,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Who has an account comes in all the same."""
        closed = resources.settings.model_copy(update={"registration": "closed"})
        monkeypatch.setattr(resources, "settings", closed)
        token = (await ada.invite(await ada.space()))["token"]
        refused = await newcomer.accept(token, email=newcomer.email, password=PASSWORD)
        assert is_problem(refused, 403, "registration-closed")

    async def test_an_address_that_it_names_has_to_match(
        self, ada: Person, bob: Person, eve: Person, newcomer: Person
    ) -> None:
        """In any case of its letters; for others the link is dead, and stays unused."""
        space_id = await ada.space()
        token = (await ada.invite(space_id, email=bob.email.upper()))["token"]
        assert is_problem(await eve.accept(token), 403, "dead-link")
        other = await newcomer.accept(token, email=newcomer.email, password=PASSWORD)
        assert is_problem(other, 403, "dead-link")
        assert (await bob.accept(token)).status_code == 201

    async def test_it_works_once(
        self, application: FastAPI, ada: Person, bob: Person, eve: Person, resources: Resources
    ) -> None:
        """Of all who use it at once, with an account and without, one comes in."""
        space_id = await ada.space()
        token = (await ada.invite(space_id))["token"]
        new = [Person(application) for _ in range(3)]
        answers = await asyncio.gather(
            bob.accept(token),
            *(one.accept(token, email=one.email, password=PASSWORD) for one in new),
            eve.accept(token),
        )
        assert sorted(answer.status_code for answer in answers) == [201, 403, 403, 403, 403]
        assert len(await ada.roles(space_id)) == 2
        addresses = [person.email for person in new]
        query = "SELECT 1 FROM users WHERE email = any($1)"
        made = await resources.database.fetch(query, addresses)
        assert len(made) == sum(answer.status_code == 201 for answer in answers[1:4])
        for person in new:
            await person.client.aclose()

    async def test_it_is_dead_after_a_week(
        self, ada: Person, bob: Person, resources: Resources
    ) -> None:
        """As is one that never was, and one of a space that is gone."""
        late, orphan = [(await ada.invite(await ada.space())) for _ in range(2)]
        query = (
            "UPDATE account_links SET expires_at = expires_at - interval '7 days' WHERE id = $1"
        )
        await resources.database.fetch(query, late["id"])
        await ada.delete(f"/api/spaces/{orphan['space_id']}")
        for token in (late["token"], orphan["token"], "x" * 43):
            assert is_problem(await bob.accept(token), 403, "dead-link")

    async def test_a_member_keeps_their_role(self, ada: Person, bob: Person, eve: Person) -> None:
        """The link stays for somebody else."""
        space_id = await ada.space()
        await ada.let_in(space_id, bob)
        token = (await ada.invite(space_id, "viewer"))["token"]
        for person in (ada, bob):
            assert is_problem(await person.accept(token), 409, "already-member")
        assert await ada.roles(space_id) == {ada.id: "owner", bob.id: "editor"}
        assert (await eve.accept(token)).status_code == 201

    async def test_it_takes_an_account_or_what_makes_one(
        self, ada: Person, newcomer: Person
    ) -> None:
        """Neither is a 401, half of it a 422, and an API key is nobody."""
        space_id = await ada.space()
        token = (await ada.invite(space_id))["token"]
        assert is_problem(await newcomer.accept(token), 401, "unauthenticated")
        for half in ({"email": newcomer.email}, {"password": PASSWORD}):
            assert is_problem(await newcomer.accept(token, **half), 422, "invalid")
        key = {"name": "k", "rights": ["images:read"]}
        made = (await ada.post("/api/keys", json=key)).json()["key"]
        newcomer.client.headers["Authorization"] = f"Bearer {made}"
        assert is_problem(await newcomer.accept(token), 403, "not-allowed")

    async def test_the_operators_invitation_makes_accounts_alone(
        self, bob: Person, newcomer: Person, resources: Resources
    ) -> None:
        """Here it is dead; where accounts are made it is as before."""
        token = await operators.invite(resources.database, None)
        assert is_problem(await bob.accept(token), 403, "dead-link")
        fields = {"email": newcomer.email, "password": PASSWORD}
        assert is_problem(await newcomer.accept(token, **fields), 403, "dead-link")
        body = fields | {"invitation": token}
        assert (await newcomer.post("/api/users", json=body)).status_code == 201
