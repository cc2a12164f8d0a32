"""Pictures of a team: what each role may do, whose they are, and that strangers see nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tests.images.conftest import PHOTOS, Person, Team, newest_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from atelier.http.resources import Resources

WATERFALL = (PHOTOS / "waterfall_640x480.jpg").read_bytes()
ROLES = ("viewer", "worker", "editor", "owner")
READS = ("/info", "", "/renditions/original", "/renditions/gray")
WRITES: tuple[tuple[str, str, Any], ...] = (
    ("PATCH", "", {"title": "x"}),
    ("PUT", "", {"title": "x", "description": "", "tags": []}),
    ("POST", "/retry", None),
    ("DELETE", "", None),
)


def said(answer: httpx2.Response) -> tuple[int, dict[str, str], bytes]:
    """An answer without what every one has anew."""
    headers = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
    return answer.status_code, headers, answer.content


@pytest.mark.parametrize("role", ROLES)
async def test_every_member_reads(ada: Person, bob: Person, team: Team, role: str) -> None:
    """Record, original and list; before it is processed a picture is `not-ready`, not missing."""
    record = await ada.upload(space=team.id)
    await team.join(bob, role)
    info = await bob.client.get(record["url"] + "/info")
    assert (info.status_code, info.json()) == (200, record)
    original = await bob.client.get(record["url"] + "/renditions/original")
    assert original.content == WATERFALL
    assert (await bob.client.get(record["url"])).json()["type"] == "/problems/not-ready"
    listed = (await bob.client.get("/api/images", params={"space": team.id})).json()
    assert listed == [record]
    assert (await bob.client.get("/api/images")).json() == []


@pytest.mark.parametrize("role", ["viewer", "worker"])
async def test_who_may_only_see_changes_nothing(
    ada: Person, bob: Person, team: Team, role: str
) -> None:
    """403 `not-allowed` for each change, for an upload, and whatever the entity tag."""
    record = await ada.upload(space=team.id)
    await team.join(bob, role)
    for method, path, body in WRITES:
        for headers in ({}, {"If-Match": '"99"'}):
            answer = await bob.client.request(
                method, record["url"] + path, json=body, headers=headers
            )
            assert answer.status_code == 403, (method, path)
            assert answer.json()["type"] == "/problems/not-allowed"
    await bob.upload(space=team.id, expect=403)
    assert (await ada.client.get(record["url"] + "/info")).json() == record


@pytest.mark.parametrize("role", ["editor", "owner"])
async def test_an_editor_changes_what_others_made(
    ada: Person, bob: Person, team: Team, role: str
) -> None:
    """Uploads, changes and deletions; a record keeps its maker, whoever changes it."""
    await team.join(bob, role)
    theirs, mine = await ada.upload(space=team.id), await bob.upload(space=team.id)
    assert (theirs["space_id"], theirs["created_by"]) == (team.id, ada.id)
    assert (mine["space_id"], mine["created_by"]) == (team.id, bob.id)
    changed = await bob.client.patch(theirs["url"], json={"title": "new"})
    assert changed.json() == theirs | {"title": "new"}
    assert (await ada.client.get(theirs["url"] + "/info")).json() == changed.json()
    assert (await ada.client.delete(mine["url"])).status_code == 204
    assert (await bob.client.get(mine["url"] + "/info")).status_code == 404


async def test_to_a_stranger_nothing_exists(ada: Person, bob: Person, team: Team) -> None:
    """Also from the cache: body and headers are those of a picture that never was."""
    record = await ada.upload(space=team.id)
    missing = f"/api/images/{record['id'] + 1000}"
    for path in READS:
        await ada.client.get(record["url"] + path)
        theirs = await bob.client.get(record["url"] + path)
        assert said(theirs) == said(await bob.client.get(missing + path))
        assert theirs.status_code == 404
    for method, path, body in WRITES:
        theirs = await bob.client.request(method, record["url"] + path, json=body)
        nobodys = await bob.client.request(method, missing + path, json=body)
        assert said(theirs) == said(nobodys)
        assert theirs.status_code == 404
    for space in (team.id, ada.id, 2**62):
        listed = await bob.client.get("/api/images", params={"space": space})
        assert (listed.status_code, listed.json()["detail"]) == (404, "There is no such space.")
        refused = await bob.upload(space=space, expect=404)
        assert refused["detail"] == "There is no such space."


async def test_who_was_removed_sees_nothing(ada: Person, bob: Person, team: Team) -> None:
    """From the announcement on, though record and token were cached a moment before."""
    await team.join(bob, "editor")
    record = await bob.upload(space=team.id)
    assert (await bob.client.get(record["url"] + "/info")).status_code == 200
    await team.leave(bob)
    for path in READS:
        assert (await bob.client.get(record["url"] + path)).status_code == 404
    assert (await bob.client.delete(record["url"])).status_code == 404
    assert (await bob.client.get("/api/images", params={"space": team.id})).status_code == 404
    assert (await ada.client.get(record["url"] + "/info")).json() == record


async def test_a_role_that_changes_holds_at_once(ada: Person, bob: Person, team: Team) -> None:
    """An editor who becomes a viewer goes on reading, and no longer writes."""
    await team.join(bob, "editor")
    record = await bob.upload(space=team.id)
    await team.join(bob, "viewer")
    assert (await bob.client.get(record["url"] + "/info")).status_code == 200
    assert (await bob.client.patch(record["url"], json={"title": "x"})).status_code == 403


async def test_without_a_space_it_is_ones_own(ada: Person, team: Team) -> None:
    """A list has the pictures of one space, its pages too."""
    own = [(await ada.upload())["id"] for _ in range(3)]
    shared = [(await ada.upload(space=team.id))["id"] for _ in range(3)]
    for params, expected in (({}, own), ({"space": ada.id}, own), ({"space": team.id}, shared)):
        found, url = [], str(httpx2.URL("/api/images", params={"limit": 2} | params))
        while url:
            answer = await ada.client.get(url)
            found += [record["id"] for record in answer.json()]
            url = answer.links.get("next", {}).get("url")
        assert found == expected[::-1]
    assert (await ada.client.get("/api/images?space=x")).status_code == 422


async def test_a_form_is_not_read_before_the_right_is_judged(
    ada: Person, bob: Person, team: Team
) -> None:
    """A viewer's upload is refused before its first byte is asked for."""
    await team.join(bob, "viewer")
    asked = []

    async def body() -> AsyncIterator[bytes]:
        asked.append(True)
        yield b"--b\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    for space, status in ((team.id, 403), (2**62, 404)):
        answer = await bob.client.post(
            "/api/images", params={"space": space}, content=body(), headers=headers
        )
        assert answer.status_code == status
    assert asked == []


async def test_an_idempotency_key_is_a_persons(ada: Person, bob: Person, team: Team) -> None:
    """Two members may use the same word; one upload into two spaces under one key is refused."""
    await team.join(bob, "editor")
    headers = {"Idempotency-Key": "one"}
    first = await ada.upload(space=team.id, headers=headers)
    assert await ada.upload(space=team.id, headers=headers) == first
    assert (await bob.upload(space=team.id, headers=headers))["id"] != first["id"]
    await ada.upload(headers=headers, expect=422)


async def test_two_people_work_in_one_space(ada: Person, bob: Person, team: Team) -> None:
    """Changes and deletions at the same time: each is done or refused, and nothing is lost."""
    await team.join(bob, "editor")
    people = (ada, bob)
    records = await asyncio.gather(*(who.upload(space=team.id) for who in people * 4))
    changes = [
        who.client.patch(record["url"], json={"title": f"{who.id}"})
        for record in records
        for who in people
    ]
    deletions = [who.client.delete(records[0]["url"]) for who in people]
    answers = await asyncio.gather(*changes, *deletions)
    assert {answer.status_code for answer in answers} <= {200, 204, 404}
    assert sorted(answer.status_code for answer in answers[-2:]) == [204, 404]
    lists = [await who.client.get("/api/images", params={"space": team.id}) for who in people]
    assert lists[0].json() == lists[1].json()
    assert [r["id"] for r in lists[0].json()] == sorted(r["id"] for r in records[1:])[::-1]


async def test_who_made_an_old_picture_is_known_in_ones_own_space(
    ada: Person, team: Team, resources: Resources
) -> None:
    """A row that does not say it: all reads, the next change and its event agree."""
    own, shared = await ada.upload(), await ada.upload(space=team.id)
    for record, maker in ((own, ada.id), (shared, None)):
        statement = "UPDATE images SET created_by = NULL WHERE id = $1"
        await resources.database.fetch(statement, record["id"])
        shown = await ada.client.get(record["url"] + "/info")
        listed = await ada.client.get("/api/images", params={"space": record["space_id"]})
        assert [shown.json()] == listed.json() == [record | {"created_by": maker}]
        changed = await ada.client.patch(record["url"], json={"title": "new"})
        assert changed.json() == record | {"created_by": maker, "title": "new"}
        assert (await ada.client.get(record["url"] + "/info")).json() == changed.json()
        event = await newest_event(resources, record["id"])
        assert (event["created_by"], event["space_id"]) == (maker, record["space_id"])
