"""Members: who sees them, gives them roles, removes them, and leaves."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from tests.problems import is_problem
from tests.spaces.conftest import announced

if TYPE_CHECKING:
    import httpx2

    from atelier.http.resources import Resources
    from tests.spaces.conftest import Person

NOBODY = 2**40


async def test_every_member_sees_them(ada: Person, bob: Person, eve: Person) -> None:
    """With address, name, role and since when; a stranger sees none."""
    space_id = await ada.space()
    await ada.let_in(space_id, bob, "viewer")
    await bob.patch("/api/users/me", json={"name": "Bob"})
    first, second = (await bob.get(f"/api/spaces/{space_id}/members")).json()
    assert (first["user_id"], first["email"], first["name"]) == (bob.id, bob.email, "Bob")
    assert (first["role"], second["role"]) == ("viewer", "owner")
    assert first["since"] > second["since"]
    hidden = await eve.get(f"/api/spaces/{space_id}/members")
    assert is_problem(hidden, 404, "not-found")


async def test_they_come_in_pages(ada: Person, bob: Person, eve: Person) -> None:
    """Each member once."""
    space_id = await ada.space()
    for person in (bob, eve):
        await ada.let_in(space_id, person)
    found, url = [], f"/api/spaces/{space_id}/members?limit=1"
    while url:
        page = await ada.get(url)
        found += [one["user_id"] for one in page.json()]
        url = page.links["next"]["url"] if "next" in page.links else ""
    assert found == [eve.id, bob.id, ada.id]


class TestRoles:
    """PUT /api/spaces/{id}/members/{user_id}."""

    async def test_an_owner_gives_another_role(
        self,
        ada: Person,
        bob: Person,
        resources: Resources,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """It counts from the next request on, and is announced and audited."""
        space_id = await ada.space()
        await ada.let_in(space_id, bob, "viewer")
        path = f"/api/spaces/{space_id}/members/{bob.id}"
        with caplog.at_level(logging.INFO, "atelier.audit"):
            answer = await ada.put(path, json={"role": "owner"})
        assert (answer.status_code, answer.json()["role"]) == (200, "owner")
        assert (await bob.get(f"/api/spaces/{space_id}")).json()["role"] == "owner"
        assert (await bob.patch(f"/api/spaces/{space_id}", json={"name": "n"})).status_code == 200
        assert f"role-changed user={bob.id}" in caplog.text
        assert (await ada.put(path, json={"role": "owner"})).status_code == 200
        types = await announced(resources, f"spaces/{space_id}")
        assert types.count("member.changed") == 1

    async def test_only_members_have_one(self, ada: Person, bob: Person) -> None:
        """A stranger's id is answered like one that never was: no account is probed."""
        space_id = await ada.space()
        answers = [
            await ada.put(f"/api/spaces/{space_id}/members/{user_id}", json={"role": "viewer"})
            for user_id in (bob.id, NOBODY)
        ]
        assert all(is_problem(answer, 404, "not-found") for answer in answers)
        assert answers[0].content == answers[1].content

    @pytest.mark.parametrize("role", ["admin", "", None, 1, "Owner"])
    async def test_there_are_four(self, ada: Person, role: object) -> None:
        """Another word is refused."""
        path = f"/api/spaces/{await ada.space()}/members/{ada.id}"
        assert is_problem(await ada.put(path, json={"role": role}), 422, "invalid")

    async def test_the_last_owner_stays_one(self, ada: Person, bob: Person) -> None:
        """Until there is another."""
        space_id = await ada.space()
        await ada.let_in(space_id, bob)
        path = f"/api/spaces/{space_id}/members/{ada.id}"
        refused = await ada.put(path, json={"role": "editor"})
        assert is_problem(refused, 409, "last-owner")
        assert "Herbarium" in refused.json()["detail"]
        await ada.put(f"/api/spaces/{space_id}/members/{bob.id}", json={"role": "owner"})
        assert (await ada.put(path, json={"role": "editor"})).status_code == 200
        assert await bob.roles(space_id) == {ada.id: "editor", bob.id: "owner"}

    async def test_who_is_no_owner_any_more_has_no_open_invitation(
        self, ada: Person, bob: Person, eve: Person
    ) -> None:
        """Else they could come back as an owner by their own link."""
        space_id = await ada.space()
        await ada.let_in(space_id, bob, "owner")
        token = (await bob.invite(space_id, "owner"))["token"]
        await ada.put(f"/api/spaces/{space_id}/members/{bob.id}", json={"role": "editor"})
        assert is_problem(await eve.accept(token), 403, "dead-link")


class TestLeaving:
    """DELETE /api/spaces/{id}/members/{user_id}."""

    @pytest.mark.parametrize("role", ["viewer", "worker", "editor", "owner"])
    async def test_everybody_may(
        self, ada: Person, bob: Person, resources: Resources, role: str
    ) -> None:
        """The space is a stranger's from then on, their keys of it end, and it is announced."""
        space_id = await ada.space()
        await ada.let_in(space_id, bob, role)
        body = {"name": "k", "rights": ["images:read"], "space_id": space_id}
        key = (await bob.post("/api/keys", json=body)).json()["key"]
        assert (await bob.leave(space_id)).status_code == 204
        assert is_problem(await bob.get(f"/api/spaces/{space_id}"), 404, "not-found")
        assert is_problem(await bob.leave(space_id), 404, "not-found")
        await ada.let_in(space_id, bob, role)
        headers = {"Authorization": f"Bearer {key}"}
        assert (await bob.get("/api/spaces", headers=headers)).status_code == 401
        types = await announced(resources, f"spaces/{space_id}")
        assert types.count("member.removed") == 1

    async def test_an_owner_removes_others(self, ada: Person, bob: Person, eve: Person) -> None:
        """A member without that right does not; for a stranger there is nothing."""
        space_id = await ada.space()
        for person in (bob, eve):
            await ada.let_in(space_id, person)
        path = f"/api/spaces/{space_id}/members/{eve.id}"
        assert is_problem(await bob.delete(path), 403, "not-allowed")
        assert (await ada.delete(path)).status_code == 204
        assert is_problem(await ada.delete(path), 404, "not-found")
        assert is_problem(await eve.delete(path), 404, "not-found")
        assert await ada.roles(space_id) == {ada.id: "owner", bob.id: "editor"}

    async def test_the_last_owner_may_not(self, ada: Person, bob: Person) -> None:
        """Not even when nobody else is there: they delete the space."""
        space_id = await ada.space()
        assert is_problem(await ada.leave(space_id), 409, "last-owner")
        await ada.let_in(space_id, bob)
        assert is_problem(await ada.leave(space_id), 409, "last-owner")

    @pytest.mark.parametrize("how", ["leave", "demote themselves", "remove each other"])
    async def test_of_two_owners_at_once_one_stays(
        self, ada: Person, bob: Person, resources: Resources, how: str
    ) -> None:
        """However they go about it."""
        for _ in range(5):
            space_id = await ada.space()
            await ada.let_in(space_id, bob, "owner")
            pairs = [(ada, bob), (bob, ada)] if "each" in how else [(ada, ada), (bob, bob)]
            calls = [act(how, person, space_id, target) for person, target in pairs]
            answers = await asyncio.gather(*calls)
            statuses = sorted(answer.status_code for answer in answers)
            assert statuses[0] in {200, 204}
            assert statuses[1] in {404, 409}
            query = "SELECT count(*) FROM members WHERE space_id = $1 AND role = 'owner'"
            row = await resources.database.fetchrow(query, space_id)
            assert row
            assert row["count"] == 1


async def act(how: str, person: Person, space_id: int, target: Person) -> httpx2.Response:
    """Take a role, or a membership, away."""
    path = f"/api/spaces/{space_id}/members/{target.id}"
    if how.startswith("demote"):
        return await person.put(path, json={"role": "viewer"})
    return await person.delete(path)


async def test_other_processes_hear_of_it(ada: Person, bob: Person, resources: Resources) -> None:
    """Each change of a membership is told by the name of the user."""
    space_id = await ada.space()
    async with resources.redis.pubsub() as channel:
        await channel.subscribe("atelier:revoked")
        await channel.get_message(timeout=10)
        await ada.let_in(space_id, bob)
        await ada.put(f"/api/spaces/{space_id}/members/{bob.id}", json={"role": "viewer"})
        await bob.leave(space_id)
        heard = [await channel.get_message(timeout=10) for _ in range(3)]
    assert [message and message["data"] for message in heard] == [f"user {bob.id}".encode()] * 3
