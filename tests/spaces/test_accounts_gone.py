"""What becomes of spaces when an account is deleted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from atelier.wire.spaces import GONE
from tests.problems import is_problem
from tests.spaces.conftest import announced
from tests.spaces.test_spaces import put_in

if TYPE_CHECKING:
    from atelier.http.resources import Resources
    from tests.spaces.conftest import Person


async def test_what_they_made_in_a_team_stays_without_their_name(
    ada: Person, bob: Person, resources: Resources
) -> None:
    """Things of others keep theirs; the membership goes, and it is announced."""
    space_id = await ada.space()
    await ada.let_in(space_id, bob)
    for person in (ada, bob):
        await put_in(resources, space_id, person.id)
    await put_in(resources, bob.id, bob.id)
    assert (await bob.delete_account()).status_code == 204
    for table, count in (("images", 1), ("tasks", 2), ("files", 1)):
        query = f"SELECT created_by FROM {table} WHERE owner_id = $1 ORDER BY 1"
        rows = await resources.database.fetch(query, space_id)
        assert [row["created_by"] for row in rows] == [GONE] * count + [ada.id] * count
        assert await resources.database.fetch(query, bob.id) == []
    assert await ada.roles(space_id) == {ada.id: "owner"}
    types = await announced(resources, f"spaces/{space_id}")
    assert types[-1] == "member.removed"


async def test_their_own_space_goes_and_the_teams_in_which_they_are_alone(
    ada: Person, resources: Resources
) -> None:
    """With everything in them."""
    space_id = await ada.space()
    await put_in(resources, space_id, ada.id)
    await ada.invite(space_id)
    assert (await ada.delete_account()).status_code == 204
    query = "SELECT 1 FROM spaces WHERE id = any($1)"
    assert await resources.database.fetch(query, [space_id, ada.id]) == []
    assert (await announced(resources, f"spaces/{space_id}"))[-1] == "space.deleted"


async def test_the_last_owner_of_others_stays(
    ada: Person, bob: Person, resources: Resources
) -> None:
    """409 names the space, and nothing has changed."""
    alone, shared = await ada.space("Alone"), await ada.space("Shared")
    await ada.let_in(shared, bob)
    await put_in(resources, ada.id, ada.id)
    before = (await ada.get("/api/spaces")).json()
    refused = await ada.delete_account()
    assert is_problem(refused, 409, "last-owner")
    assert "Shared" in refused.json()["detail"]
    assert str(shared) in refused.json()["detail"]
    assert (await ada.get("/api/spaces")).json() == before
    assert {alone, shared} < {space["id"] for space in before}
    await ada.put(f"/api/spaces/{shared}/members/{bob.id}", json={"role": "owner"})
    assert (await ada.delete_account()).status_code == 204
    assert await bob.roles(shared) == {bob.id: "owner"}


async def test_of_two_owners_who_go_at_once_one_stays(
    ada: Person, bob: Person, eve: Person, resources: Resources
) -> None:
    """Whoever comes second is the last owner while somebody else is a member."""
    space_id = await ada.space()
    await ada.let_in(space_id, bob, "owner")
    await ada.let_in(space_id, eve, "viewer")
    answers = await asyncio.gather(ada.delete_account(), bob.delete_account())
    assert sorted(answer.status_code for answer in answers) == [204, 409]
    assert sorted((await eve.roles(space_id)).values()) == ["owner", "viewer"]


async def test_everybody_goes_at_once(
    ada: Person, bob: Person, eve: Person, resources: Resources
) -> None:
    """The last one takes the space along; nobody waits for another in a circle."""
    spaces = [await person.space() for person in (ada, bob, eve)]
    for space_id, owner in zip(spaces, (ada, bob, eve), strict=True):
        for person in (ada, bob, eve):
            if person is not owner:
                await owner.let_in(space_id, person, "owner")
    answers = await asyncio.gather(*(person.delete_account() for person in (ada, bob, eve)))
    assert [answer.status_code for answer in answers] == [204, 204, 204]
    query = "SELECT 1 FROM spaces WHERE id = any($1)"
    assert await resources.database.fetch(query, spaces) == []


async def test_who_accepts_meanwhile_is_in_or_out(
    ada: Person, bob: Person, eve: Person, resources: Resources
) -> None:
    """An account that goes while it accepts leaves no member behind, in either order."""
    for person in (bob, eve):
        space_id = await ada.space()
        token = (await ada.invite(space_id))["token"]
        accepted, gone = await asyncio.gather(person.accept(token), person.delete_account())
        assert gone.status_code == 204
        assert accepted.status_code in {201, 401}
        assert await ada.roles(space_id) == {ada.id: "owner"}
