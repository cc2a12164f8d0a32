"""Queues: their forms, answers that fit them, filling from the library, progress."""

from __future__ import annotations

import asyncio
import copy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.tasks.conftest import make_team
from tests.tasks.test_answers import complete
from tests.tasks.test_routes import is_problem

if TYPE_CHECKING:
    from atelier.http.resources import Resources
    from tests.tasks.conftest import Person

LIGHT: dict[str, Any] = {
    "name": "light",
    "type": "choice",
    "choices": [{"value": "red", "key": "1"}, {"value": "green", "label": "Green", "key": "2"}],
}
FORM: dict[str, Any] = {
    "question": "Which light is on?",
    "fields": [
        LIGHT,
        {
            "name": "seen",
            "type": "choices",
            "choices": [{"value": "car"}, {"value": "dog"}],
            "required": False,
        },
        {"name": "remark", "type": "text", "required": False},
    ],
}
PICTURES = """
    INSERT INTO images (owner_id, created_by, title, description, tags, blob, format, media_type,
        width, height, size, sha256, metadata, status, renditions, version, sequence, received_at,
        updated_at, offered_at)
    SELECT $1, $1, 'Picture ' || n, '', $3::text[], 'images/' || gen_random_uuid(), 'PNG',
        'image/png', 1, 1, 100, '', '{}', $4, '[]', 1, 1, now(), now(), now()
    FROM generate_series(1, $2::int) AS n RETURNING id
"""


async def pictures(
    resources: Resources, space_id: int, number: int, *tags: str, status: str = "ready"
) -> list[int]:
    """So many stored pictures of a space."""
    rows = await resources.database.fetch(PICTURES, space_id, number, list(tags), status)
    return [row["id"] for row in rows]


async def make_queue(person: Person, form: object = None, **options: Any) -> dict[str, Any]:
    """A queue of a person's space."""
    body = {"name": "Lights", "form": form}
    answer = await person.post("/api/queues", json=body, **options)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def fill(person: Person, queue: dict[str, Any], **body: Any) -> dict[str, int]:
    """Fill a queue; how many came and were there."""
    answer = await person.post(f"/api/queues/{queue['id']}/fill", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, int] = answer.json()
    return found


async def take_of(person: Person, queue: dict[str, Any]) -> tuple[int, int]:
    """The id and token of a task of a queue, taken for a minute."""
    body = {"lease_seconds": 60, "queue_id": queue["id"]}
    answer = await person.post("/api/tasks/take", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"], answer.json()["lease"]["token"]


def bent(path: str, value: object) -> dict[str, Any]:
    """The form with one value changed; `path` is such as `fields.0.name`."""
    form = copy.deepcopy(FORM)
    *parents, last = path.split(".")
    place: Any = form
    for each in parents:
        place = place[int(each) if each.isdigit() else each]
    place[last] = value
    return form


class TestLife:
    """Made, read, changed, deleted."""

    async def test_a_queue_is_kept(self, ada: Person) -> None:
        """With its form, which comes back complete."""
        made = await make_queue(ada, FORM)
        assert made["form"]["question"] == FORM["question"]
        assert made["form"]["fields"][0]["choices"][1] == {
            "value": "green", "label": "Green", "key": "2"
        }  # fmt: skip
        assert (await ada.get(f"/api/queues/{made['id']}")).json() == made
        assert (await ada.get("/api/queues")).json() == [made]

    @pytest.mark.parametrize(
        "form",
        [
            bent("fields", []),
            bent("fields.0.name", "Light"),
            bent("fields.1.name", "light"),
            bent("fields.0.choices", []),
            bent("fields.2.choices", [{"value": "a"}]),
            bent("fields.0.choices", [{"value": "a"}, {"value": "a"}]),
            bent("fields.1.choices", [{"value": "a", "key": "1"}]),
            bent("fields.0.choices", [{"value": "a", "key": "Enter"}]),
            bent("fields.0.type", "number"),
            bent("question", ""),
            bent("question", "x" * 301),
            bent("other", 1),
            bent("fields.0.choices", [{"value": str(n)} for n in range(101)]),
            "a form",
        ],
        ids=range(14),
    )
    async def test_forms_that_are_none(self, ada: Person, form: object) -> None:
        """422 that names the place."""
        answer = await ada.post("/api/queues", json={"name": "q", "form": form})
        assert is_problem(answer, 422, "invalid")
        assert answer.json()["errors"][0]["loc"][:2] == ["body", "form"]

    async def test_changed_and_not_overwritten(self, ada: Person, resources: Resources) -> None:
        """Under If-Match; an event for each change and none for no change."""
        made = await make_queue(ada, FORM)
        path = f"/api/queues/{made['id']}"
        tag = {"If-Match": '"1"'}
        assert (await ada.client.patch(path, json={"name": "Lights"}, headers=tag)).headers[
            "etag"
        ] == '"1"'
        changed = await ada.client.patch(path, json={"name": "L", "form": None}, headers=tag)
        assert (changed.json()["name"], changed.json()["form"]) == ("L", None)
        answer = await ada.client.patch(path, json={"name": "M"}, headers=tag)
        assert is_problem(answer, 412, "precondition-failed")
        query = "SELECT type FROM outbox WHERE subject = $1 ORDER BY sequence"
        rows = await resources.database.fetch(query, f"queues/{made['id']}")
        assert [row["type"] for row in rows] == ["queue.created", "queue.updated"]

    async def test_deleted_with_its_tasks_only_if_asked(
        self, ada: Person, resources: Resources
    ) -> None:
        """409 while there are any; then tasks, answers and pictures' ties are gone."""
        queue = await make_queue(ada)
        [image_id] = await pictures(resources, ada.id, 1, "a")
        await fill(ada, queue, tag="a")
        task_id, token = await take_of(ada, queue)
        await complete(ada, task_id, token, result=1)
        path = f"/api/queues/{queue['id']}"
        assert is_problem(await ada.delete(path), 409, "queue-not-empty")
        assert (await ada.delete(f"{path}?with_tasks=true")).status_code == 204
        assert is_problem(await ada.get(path), 404, "not-found")
        assert is_problem(await ada.get(f"/api/tasks/{task_id}"), 404, "not-found")
        assert (await ada.delete(f"/api/images/{image_id}")).status_code == 204

    async def test_all_goes_with_the_account(self, ada: Person, resources: Resources) -> None:
        """Pictures after the tasks that are made of them; every event is there."""
        queue = await make_queue(ada)
        await pictures(resources, ada.id, 3, "a")
        await fill(ada, queue, tag="a")
        assert (await ada.delete(f"/api/users/{ada.id}")).status_code == 204
        for table, column in (
            ("queues", "space_id"),
            ("tasks", "owner_id"),
            ("images", "owner_id"),
        ):
            query = f"SELECT FROM {table} WHERE {column} = $1"
            assert await resources.database.fetch(query, ada.id) == []
        query = "SELECT type FROM outbox WHERE subject = $1 ORDER BY sequence"
        rows = await resources.database.fetch(query, f"queues/{queue['id']}")
        assert [row["type"] for row in rows] == ["queue.created", "queue.deleted"]

    async def test_strangers_see_none(self, ada: Person, bob: Person) -> None:
        """The same answer as for what is not there, for every operation."""
        queue = await make_queue(ada, FORM)
        for queue_id in (queue["id"], 2**40):
            path = f"/api/queues/{queue_id}"
            answers = [
                await bob.get(path),
                await bob.get(f"{path}/progress"),
                await bob.client.patch(path, json={"name": "n"}),
                await bob.post(f"{path}/fill", json={"tag": "a"}),
                await bob.delete(path),
                await bob.post("/api/tasks/take", json={"queue_id": queue_id}),
                await bob.get(f"/api/tasks?queue={queue_id}"),
            ]
            assert {answer.status_code for answer in answers} == {404}
            assert {answer.json()["detail"] for answer in answers} == {"There is no such queue."}


class TestAnswers:
    """What the form of a queue takes."""

    @pytest.mark.parametrize(
        "result",
        [
            {"light": "red"},
            {"light": "green", "seen": ["dog", "car"], "remark": "two\nlines"},
            {"light": "red", "seen": [], "remark": ""},
            {"light": "red", "remark": None},
        ],
        ids=repr,
    )
    async def test_that_fit(self, ada: Person, result: object) -> None:
        """Kept as they were sent."""
        queue = await make_queue(ada, FORM)
        await ada.create_in(queue["id"])
        task_id, token = await take_of(ada, queue)
        assert (await complete(ada, task_id, token, result=result)).json()["result"] == result

    @pytest.mark.parametrize(
        ("result", "place"),
        [
            (None, []),
            ("red", []),
            (["red"], []),
            ({}, ["light"]),
            ({"light": None}, ["light"]),
            ({"light": "blue"}, ["light"]),
            ({"light": ["red"]}, ["light"]),
            ({"light": "red", "colour": 1}, ["colour"]),
            ({"light": "red", "seen": "dog"}, ["seen"]),
            ({"light": "red", "seen": ["dog", "cat"]}, ["seen", 1]),
            ({"light": "red", "seen": ["dog", "dog"]}, ["seen"]),
            ({"light": "red", "remark": 1}, ["remark"]),
            ({"light": "red", "remark": "x" * 10_001}, ["remark"]),
            ({"light": "red", "remark": "\u0007"}, ["remark"]),
        ],
        ids=lambda value: repr(value)[:40],
    )
    async def test_that_do_not(self, ada: Person, result: object, place: list[str]) -> None:
        """422 that names the field, and the lease holds; corrections are judged alike."""
        queue = await make_queue(ada, FORM)
        await ada.create_in(queue["id"])
        task_id, token = await take_of(ada, queue)
        refused = await complete(ada, task_id, token, result=result)
        assert is_problem(refused, 422, "invalid")
        assert refused.json()["errors"][0]["loc"] == ["body", "result", *place]
        assert (await complete(ada, task_id, token, result={"light": "red"})).status_code == 200
        again = await ada.client.patch(f"/api/tasks/{task_id}/answer", json={"result": result})
        assert again.json()["errors"] == refused.json()["errors"]


class TestHandOut:
    """Taking from a queue."""

    async def test_only_its_own_oldest_first(self, ada: Person) -> None:
        """What is elsewhere in the space is not handed out; without a queue, all is."""
        queue, other = await make_queue(ada), await make_queue(ada)
        elsewhere = [await ada.create_in(other["id"]), (await ada.create())["id"]]
        made = [await ada.create_in(queue["id"]) for _ in range(3)]
        assert [(await take_of(ada, queue))[0] for _ in made] == made
        nothing = await ada.post("/api/tasks/take", json={"queue_id": queue["id"]})
        assert is_problem(nothing, 404, "no-free-task")
        assert nothing.json()["leased"] == 3
        assert [(await ada.take()).json()["id"] for _ in elsewhere] == elsewhere

    async def test_the_next_comes_from_the_same_queue(self, ada: Person) -> None:
        """Not from the space, though there are older ones."""
        queue = await make_queue(ada)
        await ada.create()
        made = [await ada.create_in(queue["id"]) for _ in range(2)]
        task_id, token = await take_of(ada, queue)
        done = await complete(ada, task_id, token, query="?take_next=true", lease_seconds=60)
        assert done.json()["next"]["id"] == made[1]

    async def test_each_task_once_among_many_takers(self, ada: Person) -> None:
        """And what was given back comes again to who asks for the queue."""
        queue = await make_queue(ada)
        made = [await ada.create_in(queue["id"]) for _ in range(20)]
        found = await asyncio.gather(*(take_of(ada, queue) for _ in made))
        assert sorted(task_id for task_id, _ in found) == made
        task_id, token = found[7]
        await ada.post(f"/api/tasks/{task_id}/release", json={"token": token})
        assert (await take_of(ada, queue))[0] == task_id


class TestFill:
    """POST /api/queues/{id}/fill."""

    async def test_by_tag_text_and_ids(self, ada: Person, resources: Resources) -> None:
        """Each picture once, however often and however it is asked for."""
        queue = await make_queue(ada)
        ids = await pictures(resources, ada.id, 5, "crossing")
        await pictures(resources, ada.id, 2, "other")
        await pictures(resources, ada.id, 1, "crossing", status="failed")
        assert await fill(ada, queue, tag="crossing") == {"added": 5, "present": 0}
        assert await fill(ada, queue, tag="crossing") == {"added": 0, "present": 5}
        assert await fill(ada, queue, ids=ids[:2]) == {"added": 0, "present": 2}
        assert await fill(ada, queue, q="icture 2") == {"added": 1, "present": 1}
        assert await ada.counter() == 6
        tasks = (await ada.get(f"/api/tasks?queue={queue['id']}")).json()
        assert [task["image_id"] for task in tasks][1:] == ids[::-1]
        assert tasks[-1]["image"] == {
            "url": f"/api/tasks/{tasks[-1]['id']}/image", "format": "PNG", "size": 100
        }  # fmt: skip

    async def test_in_batches(self, ada: Person, resources: Resources) -> None:
        """More pictures than one transaction looks at: all of them, once, also when two fill."""
        queue = await make_queue(ada)
        await pictures(resources, ada.id, 5_003, "many")
        first, second = await asyncio.gather(
            fill(ada, queue, tag="many"), fill(ada, queue, tag="many")
        )
        assert first["added"] + second["added"] == 5_003
        states = (await ada.get(f"/api/queues/{queue['id']}/progress")).json()
        assert (states["free"], states["taken"], states["done"]) == (5_003, 0, 0)
        query = "SELECT count(*) AS number FROM outbox WHERE space_id = $1 AND type = $2"
        row = await resources.database.fetchrow(query, ada.id, "task.created")
        assert row
        assert row["number"] == 5_003

    @pytest.mark.parametrize(
        "body", [{}, {"tag": "a", "q": "b"}, {"ids": []}, {"ids": [0]}, {"tag": ""}, {"meta": "m"}]
    )
    async def test_one_way_to_choose(self, ada: Person, body: dict[str, Any]) -> None:
        """422 for none or several."""
        queue = await make_queue(ada)
        answer = await ada.post(f"/api/queues/{queue['id']}/fill", json=body)
        assert is_problem(answer, 422, "invalid")

    async def test_not_with_the_pictures_of_others(
        self, ada: Person, bob: Person, resources: Resources
    ) -> None:
        """404 for ids that are not of the space, and nothing is added."""
        queue = await make_queue(ada)
        ids = [*await pictures(resources, ada.id, 1), *await pictures(resources, bob.id, 1)]
        answer = await ada.post(f"/api/queues/{queue['id']}/fill", json={"ids": ids})
        assert is_problem(answer, 404, "not-found")
        assert (await ada.get("/api/tasks")).json() == []
        task = {"image_id": ids[1], "meta": ""}
        assert is_problem(await ada.post("/api/tasks", json=task), 404, "not-found")

    async def test_a_picture_with_tasks_stays(
        self, ada: Person, bob: Person, resources: Resources
    ) -> None:
        """It is neither deleted nor moved, nor is its task; afterwards both are."""
        team = await make_team(resources, (ada, "owner"))
        [image_id] = await pictures(resources, ada.id, 1)
        task = (await ada.post("/api/tasks", json={"image_id": image_id, "meta": "m"})).json()
        assert (task["image_id"], task["meta"]) == (image_id, "m")
        path = f"/api/images/{image_id}"
        assert is_problem(await ada.delete(path), 409, "picture-in-use")
        moving = {"ids": [image_id], "space_id": team.id}
        assert is_problem(await ada.post("/api/images/move", json=moving), 409, "picture-in-use")
        moving = {"ids": [task["id"]], "space_id": team.id}
        assert is_problem(await ada.post("/api/tasks/move", json=moving), 409, "task-of-picture")
        assert (await ada.delete(f"/api/tasks/{task['id']}")).status_code == 204
        assert (await ada.delete(path)).status_code == 204

    async def test_a_task_of_a_picture_shows_its_bytes(
        self, ada: Person, resources: Resources
    ) -> None:
        """The picture's original, which no second copy is made of."""
        content = b"\x89PNG\r\n\x1a\n" + b"bytes"
        [image_id] = await pictures(resources, ada.id, 1)
        key = "images/aa/bb/1-original.png"
        await resources.blobs.put(key, content)
        query = "UPDATE images SET blob = $2, size = $3 WHERE id = $1"
        await resources.database.fetch(query, image_id, key, len(content))
        task = (await ada.post("/api/tasks", json={"image_id": image_id, "meta": ""})).json()
        assert (await ada.get(task["image"]["url"])).content == content

    @pytest.mark.parametrize(
        "body",
        [
            {"image_id": 0, "meta": ""},
            {"image_id": "1", "meta": ""},
            {"image_id": 1.5, "meta": ""},
            {"image_id": 1, "image": "R0lGODlhAQABAAAAACwAAAAAAQABAAACAkQBADs=", "meta": ""},
            {"image_id": 1},
            {"image_id": 1, "meta": "", "queue": 1},
            {"image_id": 1, "meta": "", "queue_id": True},
        ],
        ids=range(7),
    )
    async def test_bodies_that_make_none(self, ada: Person, body: dict[str, Any]) -> None:
        """422."""
        assert is_problem(await ada.post("/api/tasks", json=body), 422, "invalid")

    async def test_a_picture_is_once_in_a_queue(self, ada: Person, resources: Resources) -> None:
        """409; outside of queues, tasks may be made of it as often as one likes."""
        queue = await make_queue(ada)
        [image_id] = await pictures(resources, ada.id, 1)
        body = {"image_id": image_id, "meta": "", "queue_id": queue["id"]}
        assert (await ada.post("/api/tasks", json=body)).status_code == 201
        assert is_problem(await ada.post("/api/tasks", json=body), 409, "already-queued")
        del body["queue_id"]
        for _ in range(2):
            assert (await ada.post("/api/tasks", json=body)).status_code == 201


async def test_progress_by_person_and_hour(ada: Person, bob: Person, resources: Resources) -> None:
    """Counts that agree with what was done; skipped tasks are taken."""
    team = await make_team(resources, (ada, "owner"), (bob, "worker"))
    queue = await make_queue(ada, params={"space": team.id})
    for _ in range(5):
        await ada.create_in(queue["id"], team.id)
    for person, number in ((ada, 1), (bob, 2)):
        for _ in range(number):
            task_id, token = await take_of(person, queue)
            await complete(person, task_id, token, result=1)
    task_id, token = await take_of(bob, queue)
    await bob.post(f"/api/tasks/{task_id}/skip", json={"token": token, "for_seconds": 60})
    found = (await bob.get(f"/api/queues/{queue['id']}/progress")).json()
    assert (found["free"], found["taken"], found["done"]) == (1, 1, 3)
    people = {each["user_id"]: each["done"] for each in found["people"]}
    assert people == {bob.id: 2, ada.id: 1}
    hours: dict[int, int] = {}
    for each in found["hours"]:
        assert datetime.fromisoformat(each["hour"]) <= datetime.now(UTC)
        hours[each["user_id"]] = hours.get(each["user_id"], 0) + each["done"]
    assert hours == people


async def test_what_moves_leaves_its_queue(ada: Person, resources: Resources) -> None:
    """A queue is of one space."""
    team = await make_team(resources, (ada, "owner"))
    queue = await make_queue(ada)
    task_id = await ada.create_in(queue["id"])
    await ada.post("/api/tasks/move", json={"ids": [task_id], "space_id": team.id})
    assert (await ada.get(f"/api/tasks/{task_id}")).json()["queue_id"] is None
    assert (await ada.get(f"/api/tasks?queue={queue['id']}")).json() == []


async def test_a_queue_of_another_space(ada: Person, resources: Resources) -> None:
    """422 when the request names both a queue and a space, and they differ."""
    team = await make_team(resources, (ada, "owner"))
    queue = await make_queue(ada)
    named = {"params": {"space": team.id}, "json": {"queue_id": queue["id"]}}
    assert is_problem(await ada.post("/api/tasks/take", **named), 422, "invalid")
    body = {"image_id": 1, "meta": "", "queue_id": queue["id"]}
    answer = await ada.post("/api/tasks", json=body, params={"space": team.id})
    assert is_problem(answer, 422, "invalid")
