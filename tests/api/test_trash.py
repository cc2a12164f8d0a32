"""The trash: what is deleted by any edge can be restored, once, whole, and is purged in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from atelier.auth import Role
from atelier.commands.check import ROWS
from atelier.files import statements as files
from atelier.images import deleting as images
from atelier.tasks import deleting as tasks
from atelier.trash import service
from tests.api.operations import PHOTO
from tests.api.people import Person, is_problem, sign_up
from tests.api.teams import World
from tests.api.test_moves import RECORDS, UPLOADS, make, team_of
from tests.api.test_rights import bearer

if TYPE_CHECKING:
    import httpx2
    from fastapi import FastAPI

NOBODYS = 2**40
RESTORES = {
    "images": images.RESTORE,
    "tasks": tasks.RESTORE,
    "answers": tasks.RESTORE,
    "files": files.RESTORE,
}
EVENTS = "SELECT type, actor, space_id FROM outbox WHERE subject = %s ORDER BY sequence"
FORM = {"question": "What is it?", "fields": [{"name": "remark", "type": "text"}]}


@pytest.fixture
def world(app: FastAPI, client: httpx2.AsyncClient, database_url: str) -> World:
    """The application of this module."""
    return World(app, client, database_url)


@pytest.fixture
async def ada(client: httpx2.AsyncClient) -> Person:
    """Somebody with an empty trash."""
    return await sign_up(client)


def rows(world: World, query: str, *values: object) -> list[tuple[Any, ...]]:
    """What the database says."""
    with psycopg.connect(world.database_url) as connection:
        return connection.execute(query, values).fetchall()


async def delete(client: httpx2.AsyncClient, person: Person, kind: str, number: int) -> None:
    """Delete a thing."""
    answer = await client.delete(f"/api/{kind}/{number}", headers=person.headers)
    assert answer.status_code == 204, answer.text


async def trash(
    client: httpx2.AsyncClient, person: Person, **query: object
) -> list[dict[str, Any]]:
    """What is in the trash."""
    answer = await client.get("/api/trash", params=query, headers=person.headers)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


async def post(
    client: httpx2.AsyncClient, person: Person, what: str, *subjects: str
) -> httpx2.Response:
    """Restore or purge."""
    body = {"subjects": subjects}
    return await client.post(f"/api/trash/{what}", json=body, headers=person.headers)


@pytest.mark.parametrize("kind", UPLOADS)
async def test_a_deleted_thing_comes_back_as_it_was(world: World, ada: Person, kind: str) -> None:
    """Under its old id, with its bytes and its record; its events go on without a gap."""
    client = world.client
    number = await make(client, ada, kind, ada.id)
    path = RECORDS[kind].format(number)
    before = (await client.get(path, headers=ada.headers)).json()
    await delete(client, ada, kind, number)
    assert (await client.get(path, headers=ada.headers)).status_code == 404
    subject = f"{kind}/{number}"
    [item] = await trash(client, ada)
    assert item["subject"] == subject
    assert (item["id"], item["kind"] + "s", item["space_id"]) == (number, kind, ada.id)
    assert (item["size"], item["actor"]) == (len(PHOTO), f"users/{ada.id}")
    assert item["title"] == before.get("title", before.get("meta", before.get("name")))
    assert item["deleted_at"] < item["purged_at"]
    answer = await post(client, ada, "restore", subject)
    assert (answer.status_code, answer.json()) == (200, {"restored": 1})
    after = (await client.get(path, headers=ada.headers)).json()
    assert {**after, "updated_at": 0} == {**before, "updated_at": 0}
    content = {"images": "renditions/original", "tasks": "image", "files": "content"}[kind]
    body = await client.get(f"/api/{kind}/{number}/{content}", headers=ada.headers)
    assert body.content == PHOTO
    assert await trash(client, ada) == []
    events = [type_.partition(".")[2] for type_, *_ in rows(world, EVENTS, subject)]
    assert events[-2:] == ["deleted", "restored"]
    numbers = rows(world, "SELECT sequence FROM outbox WHERE subject = %s ORDER BY 1", subject)
    assert [row[0] for row in numbers] == list(range(1, len(events) + 1))
    assert (await post(client, ada, "restore", subject)).status_code == 404


async def test_an_answer_comes_back_with_its_task(world: World, ada: Person) -> None:
    """A task that was answered is done again, by whom it was, with the same words."""
    client = world.client
    queue = await client.post("/api/queues", json={"name": "q", "form": FORM}, headers=ada.headers)
    path, upload = UPLOADS["tasks"]
    data = {"meta": "m", "queue_id": str(queue.json()["id"])}
    number = (
        await client.post(path, files=upload["files"], data=data, headers=ada.headers)
    ).json()["id"]
    taken = await client.post("/api/tasks/take", json={"lease_seconds": 60}, headers=ada.headers)
    done = {"token": taken.json()["lease"]["token"], "result": {"remark": "a fern"}}
    await client.post(f"/api/tasks/{number}/complete", json=done, headers=ada.headers)
    before = (await client.get(f"/api/tasks/{number}", headers=ada.headers)).json()
    assert before["state"] == "done"
    await delete(client, ada, "tasks", number)
    await post(client, ada, "restore", f"tasks/{number}")
    assert (await client.get(f"/api/tasks/{number}", headers=ada.headers)).json() == before
    gone = await client.delete(
        f"/api/queues/{queue.json()['id']}", params={"with_tasks": True}, headers=ada.headers
    )
    assert gone.status_code == 204
    await post(client, ada, "restore", f"tasks/{number}")
    after = (await client.get(f"/api/tasks/{number}", headers=ada.headers)).json()
    assert after == before | {"queue_id": None}, "its queue is gone for good"


async def test_a_task_needs_its_picture(world: World, ada: Person) -> None:
    """A task of a stored picture comes back after it, or with it, and not without."""
    client = world.client
    image = await make(client, ada, "images", ada.id)
    body = {"image_id": image, "meta": "m"}
    task = (await client.post("/api/tasks", json=body, headers=ada.headers)).json()["id"]
    await delete(client, ada, "tasks", task)
    await delete(client, ada, "images", image)
    subjects = f"tasks/{task}", f"images/{image}"
    assert (await post(client, ada, "restore", subjects[0])).status_code == 409
    assert len(await trash(client, ada)) == 2
    answer = await post(client, ada, "restore", *subjects)
    assert answer.json() == {"restored": 2}
    assert (await client.get(f"/api/tasks/{task}/image", headers=ada.headers)).content == PHOTO


@pytest.mark.parametrize("kind", UPLOADS)
async def test_each_blob_is_referred_to_or_garbage(world: World, ada: Person, kind: str) -> None:
    """In the trash the bytes are referred to, with their digest; purged, they are garbage."""
    client = world.client
    number = await make(client, ada, kind, ada.id)
    [(key,)] = rows(
        world, f"SELECT {'file' if kind == 'files' else 'blob'} FROM {kind} WHERE id = %s", number
    )
    referred = f"SELECT sha256 FROM ({ROWS}) AS referred WHERE key = %s"
    digest = rows(world, referred, key)
    assert digest
    await delete(client, ada, kind, number)
    assert rows(world, referred, key) == digest
    assert not rows(world, "SELECT FROM blob_garbage WHERE key = %s", key)
    subject = f"{kind}/{number}"
    assert (await post(client, ada, "purge", subject)).json() == {"purged": 1}
    assert not rows(world, referred, key)
    assert rows(world, "SELECT FROM blob_garbage WHERE key = %s", key)
    types = [type_.partition(".")[2] for type_, *_ in rows(world, EVENTS, subject)]
    assert types[-2:] == ["deleted", "purged"]
    assert (await post(client, ada, "restore", subject)).status_code == 404


async def test_who_may_not_delete_does_not_see_the_trash(world: World, ada: Person) -> None:
    """A stranger is told that there is nothing; a viewer that it is not allowed; keys by right."""
    client = world.client
    team = team_of(world, ada)
    viewer, stranger = await sign_up(client), await sign_up(client)
    world.execute(
        "INSERT INTO members (space_id, user_id, role, created_at) VALUES (%s, %s, %s, now())",
        team,
        viewer.id,
        Role.VIEWER,
    )
    image, file = [await make(client, ada, kind, team) for kind in ("images", "files")]
    await delete(client, ada, "images", image)
    await delete(client, ada, "files", file)
    assert len(await trash(client, ada, space=team)) == 2
    assert [i["kind"] for i in await trash(client, ada, space=team, kind="file")] == ["file"]
    for person, status in ((viewer, 403), (stranger, 404)):
        for what in ("restore", "purge"):
            answer = await post(client, person, what, f"images/{image}")
            assert is_problem(answer, status), answer.text
        for method in ("GET", "DELETE"):
            answer = await client.request(
                method, "/api/trash", params={"space": team}, headers=person.headers
            )
            assert is_problem(answer, status), answer.text
    body = {"name": "a key", "rights": ["images:read", "files:write"], "space_id": team}
    key = (await client.post("/api/keys", json=body, headers=ada.headers)).json()
    seen = await client.get("/api/trash", headers=bearer(key))
    assert [item["subject"] for item in seen.json()] == [f"files/{file}"]
    refused = await client.post(
        "/api/trash/restore", json={"subjects": [f"images/{image}"]}, headers=bearer(key)
    )
    assert is_problem(refused, 403)
    emptied = await client.delete("/api/trash", headers=bearer(key))
    assert emptied.json() == {"purged": 1}, "what the key may not delete stays"
    assert [i["subject"] for i in await trash(client, ada, space=team)] == [f"images/{image}"]


async def test_all_or_none(world: World, ada: Person) -> None:
    """One subject that is not there, or is somebody else's, and nothing is restored or purged."""
    client = world.client
    number = await make(client, ada, "images", ada.id)
    await delete(client, ada, "images", number)
    for what in ("restore", "purge"):
        answer = await post(client, ada, what, f"images/{number}", f"files/{NOBODYS}")
        assert is_problem(answer, 404)
    assert len(await trash(client, ada)) == 1


@pytest.mark.parametrize(
    "subjects",
    [
        [],
        ["images/0"],
        ["books/1"],
        ["images/1x"],
        ["images/9223372036854775808"],
        [7],
        "images/1",
    ],
)
async def test_a_subject_that_is_none(world: World, ada: Person, subjects: object) -> None:
    """It is refused with a complaint about `subjects`."""
    answer = await world.client.post(
        "/api/trash/restore", json={"subjects": subjects}, headers=ada.headers
    )
    assert is_problem(answer, 422)
    assert answer.json()["errors"][0]["loc"][:2] == ["body", "subjects"]


async def test_pages(world: World, ada: Person) -> None:
    """Last deleted first, by keyset."""
    client = world.client
    numbers = [await make(client, ada, "files", ada.id) for _ in range(3)]
    for number in numbers:
        await delete(client, ada, "files", number)
    first = await client.get("/api/trash", params={"limit": 2}, headers=ada.headers)
    second = await client.get(first.links["next"]["url"], headers=ada.headers)
    found = [item["id"] for item in first.json() + second.json()]
    assert found == numbers[::-1]
    assert "next" not in second.links


async def test_the_time_is_over(world: World, ada: Person) -> None:
    """What was deleted before the last days is purged by itself, and the rest stays."""
    client = world.client
    old, new = [await make(client, ada, "files", ada.id) for _ in range(2)]
    for number in (old, new):
        await delete(client, ada, "files", number)
    world.execute(
        "UPDATE trash SET deleted_at = now() - interval '31 days' WHERE thing_id = %s", old
    )
    database = world.app.state.resources.database
    await service.purge_due(database, 30)
    assert [item["id"] for item in await trash(client, ada)] == [new]
    [(type_, actor, space)] = rows(world, EVENTS, f"files/{old}")[-1:]
    assert (type_, actor, space) == ("file.purged", None, ada.id)


async def test_a_space_takes_its_trash_along(world: World, ada: Person) -> None:
    """With a team's space, and with an account, what is in the trash is gone, bytes included."""
    client = world.client
    made = await client.post("/api/spaces", json={"name": "s"}, headers=ada.headers)
    team = made.json()["id"]
    numbers = {space: await make(client, ada, "images", space) for space in (team, ada.id)}
    for number in numbers.values():
        await delete(client, ada, "images", number)
    keys = [
        key
        for (key,) in rows(
            world, "SELECT unnest(blobs) FROM trash WHERE owner_id IN (%s, %s)", *numbers
        )
    ]
    for path in (f"/api/spaces/{team}", f"/api/users/{ada.id}"):
        assert (await client.delete(path, headers=ada.headers)).status_code == 204
    assert not rows(world, "SELECT FROM trash WHERE owner_id IN (%s, %s)", *numbers)
    garbage = rows(world, "SELECT key FROM blob_garbage WHERE key = ANY(%s)", keys)
    assert len(keys) == len(garbage) == 2


async def test_who_left_is_not_named_again(world: World, ada: Person) -> None:
    """A picture of somebody who has left meanwhile comes back as nobody's."""
    client = world.client
    bob = await sign_up(client)
    team = team_of(world, ada, bob)
    number = await make(client, bob, "images", team)
    await delete(client, ada, "images", number)
    await client.delete(f"/api/users/{bob.id}", headers=bob.headers)
    await post(client, ada, "restore", f"images/{number}")
    record = await client.get(f"/api/images/{number}/info", headers=ada.headers)
    assert (record.json()["created_by"], record.json()["space_id"]) == (None, team)


@pytest.mark.parametrize("table", ["images", "tasks", "answers", "files"])
def test_every_column_comes_back(database_url: str, table: str) -> None:
    """A restoration names each column that a row has, generated ones excepted."""
    query = """
        SELECT column_name FROM information_schema.columns
        WHERE table_name = %s AND is_generated = 'NEVER'
    """
    with psycopg.connect(database_url) as connection:
        columns = {row[0] for row in connection.execute(query, [table])}
    statement = str(RESTORES[table])
    into = statement.partition(f"INSERT INTO {table} (")[2].partition(")")[0]
    assert set(into.split(", ")) == columns
