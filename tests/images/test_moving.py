"""Pictures go from space to space: all or none, announced, counted, and seen by nobody else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from atelier.events import outbox
from tests.images.conftest import Person, Team, new_team, newest_event

if TYPE_CHECKING:
    import httpx2

    from atelier.http.resources import Resources

EDITS = ("editor", "owner")
USAGE = "SELECT objects, bytes FROM owner_usage WHERE owner_id = $1"
COUNTED = """
    SELECT count(*), sum(size)::bigint FROM (
        SELECT owner_id, size FROM images UNION ALL SELECT owner_id, size FROM trash
    ) AS kept WHERE owner_id = $1
"""


async def move(
    person: Person, ids: list[int], space: int, expect: int = 200, **headers: str
) -> dict[str, Any]:
    """Ask for a move; the answer."""
    body = {"ids": ids, "space_id": space}
    answer = await person.client.post("/api/images/move", json=body, headers=headers)
    assert answer.status_code == expect, answer.text
    said: dict[str, Any] = answer.json()
    return said


async def listed(person: Person, space: int) -> list[int]:
    """The ids of a space's list."""
    answer = await person.client.get("/api/images", params={"space": space})
    return [record["id"] for record in answer.json()]


async def info(person: Person, image_id: int) -> httpx2.Response:
    """The answer with a record."""
    return await person.client.get(f"/api/images/{image_id}/info")


async def test_pictures_move_and_stay_what_they_are(
    ada: Person, team: Team, resources: Resources
) -> None:
    """Space and entity tag change, also of what was cached, and one event tells of each."""
    records = [await ada.upload(tags="a,b", description="d") for _ in range(2)]
    ids = [record["id"] for record in records]
    before = [await info(ada, image_id) for image_id in ids]
    assert await move(ada, [*ids, ids[0]], team.id) == {"moved": 2}
    for record, old in zip(records, before, strict=True):
        new = await info(ada, record["id"])
        assert new.json() == record | {"space_id": team.id}
        assert (old.headers["etag"], new.headers["etag"]) == ('"1"', '"2"')
        moved = await newest_event(resources, record["id"])
        changed = await ada.client.patch(record["url"], json={"title": "new"})
        assert changed.status_code == 200
        assert (await newest_event(resources, record["id"])) == moved | {"title": "new"}
        assert (moved["space_id"], moved["owner_id"]) == (team.id, team.id)
    assert (await listed(ada, team.id), await listed(ada, ada.id)) == (ids[::-1], [])
    gaps = await resources.database.fetch(outbox.GAPS)
    assert not {f"images/{image_id}" for image_id in ids} & {row["subject"] for row in gaps}


async def test_a_move_that_is_repeated_changes_nothing(ada: Person, team: Team) -> None:
    """With a key it is answered as before; without one nothing is left to do, and it says so."""
    image_id = (await ada.upload())["id"]
    first = await move(ada, [image_id], team.id, **{"Idempotency-Key": "one"})
    assert await move(ada, [image_id], team.id, **{"Idempotency-Key": "one"}) == first
    assert first == {"moved": 1}
    assert await move(ada, [image_id], team.id) == {"moved": 0}
    assert (await info(ada, image_id)).headers["etag"] == '"2"'
    await move(ada, [image_id], ada.id, expect=422, **{"Idempotency-Key": "one"})
    assert (await info(ada, image_id)).json()["space_id"] == team.id


async def test_all_move_or_none(
    ada: Person, bob: Person, team: Team, resources: Resources
) -> None:
    """One that is another's is missed like one that never was, and the others stay."""
    mine, theirs = (await ada.upload())["id"], (await bob.upload())["id"]
    answers = [
        await move(ada, [mine, image_id], team.id, expect=404) for image_id in (theirs, 2**62)
    ]
    assert answers[0] == answers[1]
    assert answers[0]["detail"] == "There is no such image."
    for space in (bob.id, (await new_team(resources)).id, 2**62):
        refused = await move(ada, [mine], space, expect=404)
        assert refused["detail"] == "There is no such space."
    assert (await listed(ada, ada.id), await listed(ada, team.id)) == ([mine], [])


@pytest.mark.parametrize("source", [None, "viewer", "worker", *EDITS])
@pytest.mark.parametrize("target", [None, "viewer", "worker", *EDITS])
async def test_it_needs_an_editor_at_both_ends(
    ada: Person, bob: Person, resources: Resources, source: str | None, target: str | None
) -> None:
    """404 where one is no member, else 403; the end that is named is judged first."""
    here, there = await new_team(resources, owner=ada), await new_team(resources)
    image_id = (await ada.upload(space=here.id))["id"]
    for team, role in ((here, source), (there, target)):
        if role is not None:
            await team.join(bob, role)
    judged = [404 if role is None else 200 if role in EDITS else 403 for role in (target, source)]
    expected = next((status for status in judged if status != 200), 200)
    await move(bob, [image_id], there.id, expect=expected)


@pytest.mark.parametrize(
    "body",
    [
        {"ids": [], "space_id": 1},
        {"ids": [1] * 1001, "space_id": 1},
        {"ids": ["1"], "space_id": 1},
        {"ids": [0], "space_id": 1},
        {"ids": [2**63], "space_id": 1},
        {"ids": [True], "space_id": 1},
        {"ids": [1]},
        {"ids": [1], "space_id": None},
        {"ids": [1], "space_id": 1, "x": 1},
    ],
)
async def test_other_bodies_are_refused(ada: Person, body: dict[str, Any]) -> None:
    """With what is wrong in it."""
    answer = await ada.client.post("/api/images/move", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"]


async def test_who_stays_behind_sees_nothing_more(
    ada: Person, bob: Person, carl: Person, resources: Resources
) -> None:
    """Whatever the cache held: a member of the former space alone, and never a stranger."""
    here, there = (
        await new_team(resources, owner=ada, viewer=bob),
        await new_team(resources, owner=ada),
    )
    image_id = (await ada.upload(space=here.id))["id"]
    reading = True

    async def read(person: Person, *allowed: int) -> None:
        while reading:
            assert (await info(person, image_id)).status_code in allowed

    readers = [
        asyncio.create_task(read(carl, 404)),
        asyncio.create_task(read(bob, 200, 404)),
    ]
    for space, status in ((there.id, 404), (here.id, 200)) * 20:
        await move(ada, [image_id], space)
        assert (await info(bob, image_id)).status_code == status
        for path in ("", "/renditions/original"):
            answer = await bob.client.get(f"/api/images/{image_id}{path}")
            gone = answer.status_code == 404 and "not-found" in answer.json()["type"]
            assert gone is (status == 404)
    reading = False
    await asyncio.gather(*readers)


async def test_an_old_picture_keeps_its_maker(
    ada: Person, team: Team, resources: Resources
) -> None:
    """One whose row does not say it was made by the person whose space it leaves."""
    image_id = (await ada.upload())["id"]
    statement = "UPDATE images SET created_by = NULL WHERE id = $1"
    await resources.database.fetch(statement, image_id)
    await move(ada, [image_id], team.id)
    assert (await info(ada, image_id)).json()["created_by"] == ada.id
    assert (await newest_event(resources, image_id))["created_by"] == ada.id


@pytest.fixture
def quota(resources: Resources) -> int:
    """How many objects a space may keep."""
    resources.settings = resources.settings.model_copy(update={"quota_objects": 3})
    return 3


async def test_what_does_not_fit_stays(
    ada: Person, team: Team, resources: Resources, quota: int
) -> None:
    """The quota of the space that it would go to is judged, and both spaces are counted."""
    there = [(await ada.upload(space=team.id))["id"] for _ in range(quota - 1)]
    mine = [(await ada.upload())["id"] for _ in range(quota - 1)]
    refused = await move(ada, mine, team.id, expect=403)
    assert refused["type"] == "/problems/quota-exceeded"
    assert await listed(ada, team.id) == there[::-1]
    await move(ada, mine[:1], team.id)
    await move(ada, [*there, mine[0]], team.id)  # full, and nothing to be done
    await move(ada, mine[1:], team.id, expect=403)
    await ada.upload(space=team.id, expect=403)
    await counted(resources, ada.id, team.id)


async def counted(resources: Resources, *spaces: int) -> None:
    """What is counted of each space is what there is."""
    for space in spaces:
        usage = await resources.database.fetchrow(USAGE, space)
        real = await resources.database.fetchrow(COUNTED, space)
        assert usage is not None
        assert real is not None
        assert tuple(usage) == (real[0], real[1] or 0)


async def test_moves_meet_changes_deletions_and_each_other(
    ada: Person, bob: Person, resources: Resources
) -> None:
    """In every order each is done or refused; counts and events are right afterwards."""
    resources.settings = resources.settings.model_copy(update={"quota_objects": 1000})
    teams = [await new_team(resources, owner=ada, editor=bob) for _ in range(3)]
    images = [await ada.upload(space=teams[n % 3].id) for n in range(12)]
    ids = [image["id"] for image in images]

    def ask(number: int) -> Any:
        who, image = (ada, bob)[number % 2], images[number % 12]
        if number % 4 == 0:
            return who.client.patch(image["url"], json={"description": f"{number}"})
        if number % 16 == 1:
            return who.client.delete(image["url"])
        some = ids[number % 5 :: 2] if number % 3 else ids[:: -1 - number % 2]
        body = {"ids": some, "space_id": teams[number // 3 % 3].id}
        return who.client.post("/api/images/move", json=body)

    answers = await asyncio.gather(*(ask(number) for number in range(96)))
    assert {answer.status_code for answer in answers} <= {200, 204, 404}
    kept = [image_id for team in teams for image_id in await listed(ada, team.id)]
    for image_id in kept:
        shown = (await info(bob, image_id)).json()
        event = await newest_event(resources, image_id)
        assert (shown["space_id"], shown["description"]) == (
            event["space_id"],
            event["description"],
        )
    gaps = {row["subject"] for row in await resources.database.fetch(outbox.GAPS)}
    assert not gaps & {f"images/{image_id}" for image_id in ids}
    await counted(resources, *(team.id for team in teams))


async def test_counting_begins_while_pictures_move(
    ada: Person, resources: Resources, quota: int
) -> None:
    """A space that is counted for the first time meets what comes and what goes.

    What goes is purged at once, or the quota would soon be full.
    """
    teams = [await new_team(resources, owner=ada) for _ in range(2)]
    (here, there) = (team.id for team in teams)
    image_id = (await ada.upload(space=here))["id"]
    for _ in range(10):
        await resources.database.fetch("DELETE FROM owner_usage")
        await asyncio.gather(
            move(ada, [image_id], there),
            ada.upload(space=here, expect=201),
        )
        await counted(resources, here, there)
        newest = (await listed(ada, here))[0]
        assert (await ada.client.delete(f"/api/images/{newest}")).status_code == 204
        await ada.client.delete("/api/trash", params={"space": here})
        here, there = there, here
