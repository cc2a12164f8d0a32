"""Moves of pictures, tasks and files between spaces: one behaviour at three slices, two edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from atelier.auth import Role
from tests.api.operations import PHOTO
from tests.api.people import Person, is_problem, sign_up
from tests.api.teams import MEMBER, SPACE, TABLES, World

if TYPE_CHECKING:
    import httpx2
    from fastapi import FastAPI

NOWHERE = 2**40
NEWEST = """
    SELECT data -> 'created_by' FROM outbox WHERE subject = %s ORDER BY sequence DESC LIMIT 1
"""
UPLOADS: dict[str, tuple[str, dict[str, Any]]] = {
    "images": ("/api/images", {"files": {"file": ("a.jpg", PHOTO)}}),
    "tasks": ("/api/tasks", {"files": {"image": ("a.jpg", PHOTO)}, "data": {"meta": "m"}}),
    "files": ("/api/upload", {"files": {"file": ("a.jpg", PHOTO)}}),
}
RECORDS = {
    "images": "/api/images/{}/info",
    "tasks": "/api/tasks/{}",
    "files": "/api/files/{}",
}


@pytest.fixture
def world(app: FastAPI, client: httpx2.AsyncClient, database_url: str) -> World:
    """The application of this module."""
    return World(app, client, database_url)


def team_of(world: World, *people: Person, role: Role = Role.OWNER) -> int:
    """A new team with these people in it."""
    space_id = world.execute(SPACE)
    for person in people:
        world.execute(MEMBER, space_id, person.id, role)
    return space_id


async def make(client: httpx2.AsyncClient, person: Person, kind: str, space_id: int) -> int:
    """One thing more in a space; its id."""
    path, body = UPLOADS[kind]
    query = {"space": space_id}
    answer = await client.post(path, params=query, headers=person.headers, **body)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


async def move(
    client: httpx2.AsyncClient, person: Person, kind: str, ids: list[int], space_id: int
) -> httpx2.Response:
    """The answer to a move."""
    body = {"ids": ids, "space_id": space_id}
    return await client.post(f"/api/{kind}/move", json=body, headers=person.headers)


def test_every_kind_is_here(document: dict[str, Any]) -> None:
    """And they are described alike: the same body and the same answer."""
    moves = {path: item["post"] for path, item in document["paths"].items() if "/move" in path}
    assert {path.strip("/").split("/")[1] for path in moves} == set(UPLOADS) == set(TABLES)
    schemas = document["components"]["schemas"]
    for operation in moves.values():
        told = operation["responses"]["200"]["content"]["application/json"]["schema"]
        told = schemas[told["$ref"].rpartition("/")[2]]
        assert told["properties"].keys() == {"moved"}
        asked = operation["requestBody"]["content"]["application/json"]["schema"]
        asked = schemas[asked["$ref"].rpartition("/")[2]]
        assert asked["properties"].keys() == set(asked["required"]) == {"ids", "space_id"}


@pytest.mark.parametrize("kind", UPLOADS)
async def test_a_move_says_how_many_were_elsewhere(world: World, kind: str) -> None:
    """Each once, and those that were there already not at all; a failed one says the same, too."""
    ada = await sign_up(world.client)
    team = team_of(world, ada)
    ids = [await make(world.client, ada, kind, space) for space in (ada.id, ada.id, team)]
    for expected in (2, 0):
        answer = await move(world.client, ada, kind, [*ids, ids[0]], team)
        assert (answer.status_code, answer.json()) == (200, {"moved": expected})
        assert answer.headers["content-type"] == "application/json"
    lost = await move(world.client, ada, kind, [ids[0], NOWHERE], ada.id)
    assert is_problem(lost, 404)
    nowhere = await move(world.client, ada, kind, ids, NOWHERE)
    assert is_problem(nowhere, 404)
    assert nowhere.json()["detail"] == "There is no such space."


async def told(world: World, person: Person, kind: str, thing: int) -> list[Any]:
    """Whom a thing names as its maker: its record, its list and its newest event."""
    record = await world.client.get(RECORDS[kind].format(thing), headers=person.headers)
    found = record.json()
    query = {"space": found["space_id"]}
    listed = await world.client.get(f"/api/{kind}", params=query, headers=person.headers)
    with psycopg.connect(world.database_url) as connection:
        event = connection.execute(NEWEST, [f"{kind}/{thing}"]).fetchone()
    assert event
    makers = [each["created_by"] for each in listed.json() if each["id"] == thing]
    return [found["created_by"], *makers, event[0]]


@pytest.mark.parametrize("kind", UPLOADS)
@pytest.mark.parametrize("when", ["before the move", "before the move, long ago", "after it"])
async def test_nobody_becomes_the_maker_of_what_another_made(
    world: World, kind: str, when: str
) -> None:
    """Whose maker has left is shown without one in a personal space as in a team's."""
    ada, bob = [await sign_up(world.client) for _ in range(2)]
    team = team_of(world, ada, bob)
    thing = await make(world.client, ada, kind, team)
    leave = f"/api/users/{ada.id}"
    if when == "after it":
        assert (await move(world.client, bob, kind, [thing], bob.id)).status_code == 200
        assert await told(world, bob, kind, thing) == [ada.id] * 3
    assert (await world.client.delete(leave, headers=ada.headers)).status_code == 204
    if "long ago" in when:  # as it was written down once
        world.execute(f"UPDATE {kind} SET created_by = NULL WHERE id = %s", thing)
    if "before" in when:
        assert (await move(world.client, bob, kind, [thing], bob.id)).status_code == 200
        assert await told(world, bob, kind, thing) == [None] * 3
    await world.app.state.resources.redis.flushdb()
    assert (await told(world, bob, kind, thing))[:2] == [None] * 2
    assert (await move(world.client, bob, kind, [thing], team)).status_code == 200
    assert await told(world, bob, kind, thing) == [None] * 3


async def test_changes_of_a_picture_say_that_its_maker_has_left(world: World) -> None:
    """As its moves do, in the answer and in the event."""
    ada, bob = [await sign_up(world.client) for _ in range(2)]
    team = team_of(world, ada, bob)
    thing = await make(world.client, ada, "images", team)
    left = await world.client.delete(f"/api/users/{ada.id}", headers=ada.headers)
    assert left.status_code == 204
    assert (await move(world.client, bob, "images", [thing], bob.id)).status_code == 200
    answer = await world.client.patch(
        f"/api/images/{thing}", json={"title": "new"}, headers=bob.headers
    )
    assert (answer.status_code, answer.json()["created_by"]) == (200, None)
    assert await told(world, bob, "images", thing) == [None] * 3
