"""Changes of many pictures: all of them or none, each announced as if it were alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from atelier.events import outbox
from atelier.images.texts import TAGS_LIMIT
from tests.images.library.pictures import Person, add

if TYPE_CHECKING:
    from atelier.database import Database

URL = "/api/images/batch"


async def batch(
    person: Person, ids: list[int], action: str, *, expect: int = 200, **more: Any
) -> dict[str, Any]:
    """Ask for a change; the answer."""
    headers = more.pop("headers", None)
    body = {"ids": ids, "action": action} | more
    answer = await person.post(URL, json=body, headers=headers)
    assert answer.status_code == expect, answer.text
    said: dict[str, Any] = answer.json()
    return said


async def tags_of(person: Person, ids: list[int]) -> list[list[str]]:
    """The tags of each, by its record."""
    return [(await person.get(f"/api/images/{each}/info")).json()["tags"] for each in ids]


async def newest(database: Database, image_id: int) -> tuple[str, int, dict[str, Any]]:
    """Type, sequence and data of the last event of a picture."""
    [row] = await database.fetch(
        "SELECT type, sequence, data::text FROM outbox WHERE subject = $1 "
        "ORDER BY id DESC LIMIT 1",
        f"images/{image_id}",
    )
    return row["type"], row["sequence"], orjson.loads(row["data"])


async def test_tags_come_and_go(ada: Person, database: Database) -> None:
    """New ones behind the others, once; who has them already stays as it is, without an event."""
    ids = [await add(database, ada.id, tags=tags) for tags in (("b",), (), ("a", "c", "b"))]
    assert await tags_of(ada, ids) == [["b"], [], ["a", "c", "b"]]
    said = await batch(ada, [*ids, ids[0]], "tag", tags=["a", "b, a"])
    assert said == {"changed": 2, "unchanged": 1}
    assert await tags_of(ada, ids) == [["b", "a"], ["a", "b"], ["a", "c", "b"]]
    etags = [(await ada.get(f"/api/images/{each}/info")).headers["etag"] for each in ids]
    assert etags == ['"2"', '"2"', '"1"']
    assert await batch(ada, ids, "untag", tags=["a", "x"]) == {"changed": 3, "unchanged": 0}
    assert await tags_of(ada, ids) == [["b"], ["b"], ["c", "b"]]
    for each, sequence in zip(ids, (3, 3, 2), strict=True):
        type_, number, data = await newest(database, each)
        assert (type_, number, data["tags"][-1]) == ("image.updated", sequence, "b")
        await ada.patch(f"/api/images/{each}", json={"title": "new"})
        assert (await newest(database, each))[2] == data | {"title": "new"}
    gaps = {row["subject"] for row in await database.fetch(outbox.GAPS)}
    assert not gaps & {f"images/{each}" for each in ids[:2]}


async def test_no_picture_gets_too_many_tags(ada: Person, database: Database) -> None:
    """422, and none of the others is changed."""
    full = await add(database, ada.id, tags=tuple(map(str, range(TAGS_LIMIT))))
    other = await add(database, ada.id)
    problem = await batch(ada, [other, full], "tag", tags=["x"], expect=422)
    assert problem["errors"][0]["loc"] == ["body", "tags"]
    assert (await tags_of(ada, [other])) == [[]]
    assert await batch(ada, [other, full], "tag", tags=["7"]) == {"changed": 1, "unchanged": 1}


async def test_pictures_move(ada: Person, database: Database) -> None:
    """Into another space, as by the operation for that alone."""
    ids = [await add(database, ada.id, tags=("a",)) for _ in range(2)]
    team = (await ada.post("/api/spaces", json={"name": "Team"})).json()["id"]
    assert await batch(ada, ids, "move", space_id=team) == {"changed": 2, "unchanged": 0}
    assert await batch(ada, ids, "move", space_id=team) == {"changed": 0, "unchanged": 2}
    assert await ada.walk(space=team, tag="a") == ids[::-1]
    await batch(ada, ids, "move", space_id=2**40, expect=404)


async def test_pictures_are_deleted(ada: Person, database: Database) -> None:
    """Rows and what was cached; the trash has the blobs of each with the commit."""
    renditions = ({"name": "gray", "format": "PNG", "size": 1, "blob": "images/000/0-gray.png"},)
    ids = [await add(database, ada.id, renditions=renditions, tags=("a",)) for _ in range(2)]
    first = await database.fetchrow("SELECT blob FROM images WHERE id = $1", ids[0])
    assert first is not None
    assert (await tags_of(ada, ids)) == [["a"]] * 2
    assert await batch(ada, ids, "delete") == {"changed": 2, "unchanged": 0}
    for each in ids:
        assert (await ada.get(f"/api/images/{each}/info")).status_code == 404
        type_, sequence, data = await newest(database, each)
        assert (type_, sequence, data["id"]) == ("image.deleted", 2, each)
    kept = await database.fetch(
        "SELECT FROM trash, unnest(blobs) AS key WHERE key = any($1::text[])",
        [first["blob"], "images/000/0-gray.png"],
    )
    assert len(kept) == 3, "they share a rendition"
    assert await ada.walk() == []
    await batch(ada, ids, "delete", expect=404)


async def test_tasks_are_made_once(ada: Person, database: Database) -> None:
    """Each picture is once in the queue, and cannot be deleted or moved while it is there."""
    ids = [await add(database, ada.id) for _ in range(3)]
    queue = (await ada.post("/api/queues", json={"name": "q"})).json()["id"]
    assert await batch(ada, ids[:2], "make-tasks", queue_id=queue) == {
        "changed": 2,
        "unchanged": 0,
    }
    assert await batch(ada, ids, "make-tasks", queue_id=queue) == {"changed": 1, "unchanged": 2}
    tasks = (await ada.get("/api/tasks", params={"queue": queue})).json()
    assert sorted(task["image_id"] for task in tasks) == ids
    problem = await batch(ada, ids, "delete", expect=409)
    assert problem["type"] == "/problems/picture-in-use"
    assert "one of these pictures" in problem["detail"]
    assert await ada.walk() == ids[::-1]
    failed = await add(database, ada.id, status="failed")
    assert len((await ada.get("/api/tasks", params={"queue": queue})).json()) == 3
    await batch(ada, [failed, *ids], "make-tasks", queue_id=queue, expect=404)
    await batch(ada, ids, "make-tasks", queue_id=2**40, expect=404)


@pytest.mark.parametrize(
    ("action", "more"),
    [
        ("tag", {"tags": ["x"]}),
        ("untag", {"tags": ["a"]}),
        ("move", {"space_id": 0}),
        ("delete", {}),
        ("make-tasks", {"queue_id": 0}),
    ],
    ids=str,
)
async def test_all_change_or_none(
    ada: Person, bob: Person, database: Database, action: str, more: dict[str, Any]
) -> None:
    """A stranger's is missed like one that never was; nothing is changed beside it."""
    mine, theirs = [await add(database, each.id, tags=("a",)) for each in (ada, bob)]
    if "space_id" in more:
        more = {"space_id": (await ada.post("/api/spaces", json={"name": "T"})).json()["id"]}
    if "queue_id" in more:
        more = {"queue_id": (await ada.post("/api/queues", json={"name": "q"})).json()["id"]}
    problems = [
        await batch(ada, [mine, each], action, expect=404, **more) for each in (theirs, 2**62)
    ]
    assert problems[0] == problems[1]
    assert (await tags_of(ada, [mine]), await ada.walk()) == ([["a"]], [mine])
    assert (await ada.get("/api/tasks")).json() == []
    assert (await ada.get(f"/api/images/{mine}/info")).headers["etag"] == '"1"'


async def test_a_repeated_key_is_answered_as_before(ada: Person, database: Database) -> None:
    """Nothing is done twice; another body under the key is refused."""
    image_id, headers = await add(database, ada.id, tags=("a",)), {"Idempotency-Key": "one"}
    first = await batch(ada, [image_id], "tag", tags=["b"], headers=headers)
    await batch(ada, [image_id], "untag", tags=["b"])
    assert await batch(ada, [image_id], "tag", tags=["b"], headers=headers) == first
    assert await tags_of(ada, [image_id]) == [["a"]]
    await batch(ada, [image_id], "untag", tags=["b"], headers=headers, expect=422)


@pytest.mark.parametrize(
    "body",
    [
        {"ids": [], "action": "delete"},
        {"ids": [1] * 1001, "action": "delete"},
        {"ids": ["1"], "action": "delete"},
        {"ids": [1], "action": "burn"},
        {"ids": [1]},
        {"ids": [1], "action": "tag"},
        {"ids": [1], "action": "tag", "tags": []},
        {"ids": [1], "action": "tag", "tags": [" ", ","]},
        {"ids": [1], "action": "tag", "tags": ["x" * 101]},
        {"ids": [1], "action": "delete", "tags": ["a"]},
        {"ids": [1], "action": "move", "queue_id": 1},
        {"ids": [1], "action": "make-tasks", "queue_id": 1, "space_id": 1},
    ],
    ids=lambda body: str(body)[:60],
)
async def test_what_is_no_change_is_invalid(ada: Person, body: dict[str, Any]) -> None:
    """422 before anything is looked at."""
    assert (await ada.post(URL, json=body)).status_code == 422


async def test_a_viewer_changes_nothing(ada: Person, bob: Person, database: Database) -> None:
    """403 in a team's space, where one sees the pictures."""
    team = (await ada.post("/api/spaces", json={"name": "Team"})).json()["id"]
    member = "INSERT INTO members VALUES ($1, $2, 'viewer', now())"
    await database.fetch(member, team, bob.id)
    await bob.enter(register=False)
    image_id = await add(database, team)
    await batch(bob, [image_id], "tag", tags=["a"], expect=403)
    await batch(bob, [image_id], "delete", expect=403)
    assert await ada.walk(space=team) == [image_id]
