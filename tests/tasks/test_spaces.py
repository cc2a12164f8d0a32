"""Tasks of a team: what each role may do, what strangers see, and tasks that move."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tests.problems import is_problem
from tests.tasks.conftest import Person, Team, make_team
from tests.tasks.test_counting import ASTRAY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI

    from atelier.http.resources import Resources

ROLES = ("viewer", "worker", "editor", "owner")
NOWHERE = 2**40
FREE_ROWS = """
    INSERT INTO tasks (owner_id, created_by, meta, free, blob, format, media_type, size, sha256,
        sequence, created_at)
    SELECT $1, $2, '', true, 'x', 'PNG', 'image/png', 1, '', 1, now()
    FROM generate_series(1, $3::int) RETURNING id
"""
PICTURE = {"files": {"image": b"GIF89a"}, "data": {"meta": ""}}
HOLDING = {"json": {"token": 1}}
# Each operation by id, and the first role that may use it.
BY_ID: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "read": ("GET", "", {}, "viewer"),
    "image": ("GET", "/image", {}, "viewer"),
    "view": ("GET", "/view", {}, "viewer"),
    "renew": ("POST", "/renew", {"json": {"token": 1, "lease_seconds": 9}}, "worker"),
    "release": ("POST", "/release", HOLDING, "worker"),
    "complete": ("POST", "/complete", HOLDING, "worker"),
    "delete": ("DELETE", "", {}, "editor"),
}
# As are those on a space.
IN_SPACE: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "list": ("GET", "/api/tasks", {}, "viewer"),
    "old list": ("GET", "/tasks", {}, "viewer"),
    "take": ("POST", "/api/tasks/take", {}, "worker"),
    "old take": ("GET", "/take_free_task", {}, "worker"),
    "create": ("POST", "/api/tasks", PICTURE, "editor"),
    "old create": ("POST", "/tasks", PICTURE, "editor"),
}


@pytest.fixture
async def carol(application: FastAPI) -> AsyncIterator[Person]:
    """A third user."""
    person = await Person(application).enter()
    yield person
    await person.client.aclose()


@pytest.fixture
async def team(resources: Resources, ada: Person) -> Team:
    """A space that Ada owns."""
    return await make_team(resources, (ada, "owner"))


def at(team: Team) -> dict[str, int]:
    """The query that names a team's space."""
    return {"space": team.id}


async def events_of(resources: Resources, task_id: int) -> list[tuple[str, int, dict[str, Any]]]:
    """Type, sequence and data of every event about a task."""
    query = "SELECT type, sequence, data FROM outbox WHERE subject = $1 ORDER BY sequence"
    rows = await resources.database.fetch(query, f"tasks/{task_id}")
    return [(row["type"], row["sequence"], json.loads(row["data"])) for row in rows]


class TestRoles:
    """Each role has the rights of those before it."""

    @pytest.mark.parametrize("name", BY_ID)
    async def test_by_id(self, ada: Person, bob: Person, team: Team, name: str) -> None:
        """Members without the right are told so, and nothing has changed; others are served."""
        method, end, options, first = BY_ID[name]
        task = await ada.create(params=at(team))
        url = f"/api/tasks/{task['id']}{end}"
        for role in ROLES:
            await team.add(bob, role)
            answer = await bob.client.request(method, url, **options)
            if ROLES.index(role) < ROLES.index(first):
                assert is_problem(answer, 403, "not-allowed"), (role, answer.text)
                assert (await ada.get(f"/api/tasks/{task['id']}")).json() == task
            else:  # 409: nobody has that lease
                assert answer.status_code in {200, 204, 409}, (role, answer.text)
                return

    @pytest.mark.parametrize("name", IN_SPACE)
    async def test_in_a_space(self, ada: Person, bob: Person, team: Team, name: str) -> None:
        """Lists, hand-outs and creations ask for the right in the space that is named."""
        method, url, options, first = IN_SPACE[name]
        await ada.create(params=at(team))
        for role in ROLES:
            await team.add(bob, role)
            answer = await bob.client.request(method, url, params=at(team), **options)
            if ROLES.index(role) < ROLES.index(first):
                assert is_problem(answer, 403, "not-allowed"), (role, answer.text)
            else:
                assert answer.status_code in {200, 201}, (role, answer.text)
                return

    @pytest.mark.parametrize("name", BY_ID)
    async def test_strangers_by_id(self, ada: Person, bob: Person, team: Team, name: str) -> None:
        """Somebody who was never a member, or is none any more, sees nothing that is not there."""
        method, end, options, _ = BY_ID[name]
        task = await ada.create(params=at(team))
        await team.add(bob, "owner")
        assert (await bob.get(f"/api/tasks/{task['id']}")).status_code == 200
        await team.add(bob, None)
        told = [
            await bob.client.request(method, f"/api/tasks/{task_id}{end}", **options)
            for task_id in (task["id"], NOWHERE)
        ]
        assert is_problem(told[0], 404, "not-found")
        assert told[0].content == told[1].content
        same = [
            {n: v for n, v in answer.headers.items() if n != "x-request-id"} for answer in told
        ]
        assert same[0] == same[1]
        assert (await ada.get(f"/api/tasks/{task['id']}")).json() == task

    @pytest.mark.parametrize("name", IN_SPACE)
    async def test_strangers_in_a_space(
        self, ada: Person, bob: Person, team: Team, name: str
    ) -> None:
        """Another's space is none, be it a team's, a person's or nobody's."""
        method, url, options, _ = IN_SPACE[name]
        answers = [
            await bob.client.request(method, url, params={"space": space_id}, **options)
            for space_id in (team.id, ada.id, NOWHERE)
        ]
        assert is_problem(answers[0], 404, "not-found")
        assert len({answer.content for answer in answers}) == 1

    @pytest.mark.parametrize("space", ["0", "-1", "x", "", "1.0", "9" * 20, "9" * 30])
    async def test_what_is_no_space(self, ada: Person, space: str) -> None:
        """It is refused before anything is looked up."""
        answer = await ada.get("/api/tasks", params={"space": space})
        assert is_problem(answer, 422, "invalid")
        assert answer.json()["errors"][0]["loc"] == ["query", "space"]


class TestSharing:
    """Several people on the same tasks."""

    async def test_each_has_what_all_have(self, ada: Person, bob: Person, team: Team) -> None:
        """A task says in whose space it is and who made it; one's own space has none of it."""
        await team.add(bob, "editor")
        mine = await ada.create(params=at(team))
        theirs = await bob.create(params=at(team))
        own = await bob.create()
        assert [(t["space_id"], t["created_by"]) for t in (mine, theirs, own)] == [
            (team.id, ada.id),
            (team.id, bob.id),
            (bob.id, bob.id),
        ]
        assert (await ada.get("/api/tasks", params=at(team))).json() == [theirs, mine]
        assert (await ada.get("/api/tasks")).json() == []
        assert (await bob.get("/api/tasks")).json() == [own]
        assert (await bob.take(params=at(team))).json()["id"] == mine["id"]
        assert (await bob.take()).json()["id"] == own["id"]

    async def test_a_page_links_to_the_next_of_its_space(self, ada: Person, team: Team) -> None:
        """All pages are of the space that the first one was asked for."""
        made = [(await ada.create(params=at(team)))["id"] for _ in range(3)]
        seen, url = [], f"/api/tasks?limit=2&space={team.id}"
        while url:
            answer = await ada.get(url)
            seen += [task["id"] for task in answer.json()]
            url = answer.links.get("next", {}).get("url", "")
        assert seen == made[::-1]

    async def test_the_maker_is_counted(
        self, ada: Person, bob: Person, team: Team, resources: Resources
    ) -> None:
        """A counter is a person's, not a space's, and the total is the sum of them."""
        await team.add(bob, "editor")
        before = await ada.total()
        await ada.create(params=at(team))
        for _ in range(2):
            await bob.create(params=at(team))
        await bob.delete(f"/api/tasks/{(await bob.create(params=at(team)))['id']}")
        assert (await ada.counter(), await bob.counter()) == (1, 3)
        assert await ada.total() == before + 4
        assert not await resources.database.fetch(ASTRAY)

    async def test_what_a_maker_leaves_stays_with_the_team(
        self, ada: Person, bob: Person, team: Team, resources: Resources
    ) -> None:
        """Their account takes its own tasks and its counter along, and nothing else."""
        await team.add(bob, "editor")
        await ada.create(params=at(team))
        left = await bob.create(params=at(team))
        own = await bob.create()
        before = await ada.total()
        assert (await bob.delete(f"/api/users/{bob.id}")).status_code == 204
        assert await ada.total() == before - 2
        assert not await resources.database.fetch(ASTRAY)
        listed = (await ada.get("/api/tasks", params=at(team))).json()
        assert left["id"] in [task["id"] for task in listed]
        rows = await resources.database.fetch("SELECT 1 FROM tasks WHERE id = $1", own["id"])
        assert not rows

    async def test_old_tasks_have_the_maker_that_only_one_can_be(
        self, ada: Person, team: Team, resources: Resources
    ) -> None:
        """Without one in its row: in a person's space that person, in a team's nobody known."""
        own, shared = [
            (await resources.database.fetch(FREE_ROWS, space_id, None, 1))[0]["id"]
            for space_id in (ada.id, team.id)
        ]
        assert (await ada.get(f"/api/tasks/{own}")).json()["created_by"] == ada.id
        assert (await ada.get(f"/api/tasks/{shared}")).json()["created_by"] is None
        assert (await ada.get("/api/tasks")).json()[0]["created_by"] == ada.id
        taken = await ada.take(9)
        assert taken.json()["created_by"] == ada.id
        assert (await events_of(resources, own))[-1][2]["created_by"] == ada.id

    async def test_no_task_goes_to_two_people(
        self, ada: Person, bob: Person, team: Team, resources: Resources
    ) -> None:
        """64 takers of two people over 500 tasks of one space: each is handed out once."""
        await team.add(bob, "worker")
        made = await resources.database.fetch(FREE_ROWS, team.id, ada.id, 500)
        taken: list[tuple[int, int]] = []

        async def work(person: Person) -> None:
            while (answer := await person.take(params=at(team))).status_code == 200:
                taken.append((answer.json()["id"], person.id))
            assert is_problem(answer, 404, "no-free-task")

        await asyncio.gather(*(work(person) for person in (ada, bob) for _ in range(32)))
        assert sorted(task_id for task_id, _ in taken) == [row["id"] for row in made]
        assert set(Counter(person for _, person in taken)) == {ada.id, bob.id}

    async def test_a_lease_is_a_members(self, ada: Person, bob: Person, team: Team) -> None:
        """Who took the task may end it while they work there, and not after; nobody else may."""
        await team.add(bob, "worker")
        task = await ada.create(params=at(team))
        token = (await bob.take(60, params=at(team))).json()["lease"]["token"]
        url = f"/api/tasks/{task['id']}"
        renewal = {"token": token, "lease_seconds": 60}
        assert (await bob.post(f"{url}/renew", json=renewal)).status_code == 200
        await team.add(bob, "viewer")
        refused = await bob.post(f"{url}/renew", json=renewal)
        assert is_problem(refused, 403, "not-allowed")
        await team.add(bob, None)
        refused = await bob.post(f"{url}/complete", json={"token": token})
        assert is_problem(refused, 404, "not-found")
        refused = await ada.post(f"{url}/release", json={"token": token})
        assert is_problem(refused, 409, "lease-lost")


class TestTakingSpace:
    """The space of a hand-out."""

    @pytest.mark.parametrize(("query", "body"), [(1, 0), (0, 1), (1, 1)])
    async def test_by_address_or_body(
        self, ada: Person, team: Team, query: int, body: int
    ) -> None:
        """Either names it, or both the same."""
        made = await ada.create(params=at(team))
        params = at(team) if query else {}
        named = {"space_id": team.id} if body else {}
        answer = await ada.post("/api/tasks/take", params=params, json=named)
        assert answer.json()["id"] == made["id"]

    async def test_two_different_ones(self, ada: Person, team: Team) -> None:
        """It is refused, and nothing is taken."""
        await ada.create(params=at(team))
        answer = await ada.post("/api/tasks/take", params=at(team), json={"space_id": ada.id})
        assert is_problem(answer, 422, "invalid")
        assert answer.json()["errors"][0]["loc"] == ["body", "space_id"]
        assert (await ada.take(params=at(team))).status_code == 200

    async def test_a_key_is_of_one_space(self, ada: Person, team: Team) -> None:
        """The same Idempotency-Key for another space is other content; a repeat is a repeat."""
        made = await ada.create(params=at(team))
        await ada.create()
        key = {"Idempotency-Key": uuid.uuid4().hex}
        first = await ada.take(params=at(team), headers=key)
        again = await ada.take(params=at(team), headers=key)
        assert first.json()["id"] == made["id"]
        assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
        other = await ada.take(headers=key)
        assert is_problem(other, 422, "idempotency-key-reused")

    @pytest.mark.parametrize("operation", ["create", "take", "release", "complete"])
    async def test_who_was_removed_gets_no_repeated_answer(
        self, ada: Person, bob: Person, team: Team, operation: str
    ) -> None:
        """An answer that was kept under a key is judged like a new one."""
        await team.add(bob, "editor")
        key = {"Idempotency-Key": uuid.uuid4().hex}
        task = await ada.create(params=at(team))
        if operation == "create":
            sent: dict[str, Any] = PICTURE | {"url": "/api/tasks", "params": at(team)}
        elif operation == "take":
            sent = {"url": "/api/tasks/take", "params": at(team)}
        else:
            token = (await bob.take(60, params=at(team))).json()["lease"]["token"]
            sent = {"url": f"/api/tasks/{task['id']}/{operation}", "json": {"token": token}}
        first = await bob.post(**sent, headers=key)
        assert first.status_code in {200, 201}, first.text
        assert (await bob.post(**sent, headers=key)).content == first.content
        await team.add(bob, None)
        assert is_problem(await bob.post(**sent, headers=key), 404, "not-found")


class TestMove:
    """POST /api/tasks/move."""

    async def move(self, person: Person, ids: list[int], space_id: int) -> httpx2.Response:
        """Ask for a move."""
        return await person.post("/api/tasks/move", json={"ids": ids, "space_id": space_id})

    async def test_tasks_are_then_there(
        self, ada: Person, team: Team, resources: Resources
    ) -> None:
        """Lists, hand-outs and records say so, makers and counters stay, and an event is told."""
        made = [await ada.create() for _ in range(3)]
        await ada.take()
        ids = [task["id"] for task in made]
        answer = await self.move(ada, [*ids, ids[0]], team.id)
        assert (answer.status_code, answer.json()) == (200, {"moved": 3})
        assert (await ada.get("/api/tasks")).json() == []
        moved = (await ada.get("/api/tasks", params=at(team))).json()
        assert [task["id"] for task in moved] == ids[::-1]
        assert {(task["space_id"], task["created_by"]) for task in moved} == {(team.id, ada.id)}
        assert is_problem(await ada.take(), 404, "no-free-task")
        assert (await ada.take(params=at(team))).json()["id"] == ids[1]
        assert await ada.counter() == 3
        type_, sequence, data = (await events_of(resources, ids[2]))[-1]
        assert (type_, sequence) == ("task.moved", 2)
        assert (data["space_id"], data["owner_id"], data["from_space_id"], data["created_by"]) == (
            team.id,
            team.id,
            ada.id,
            ada.id,
        )
        assert (await self.move(ada, ids, team.id)).json() == {"moved": 0}
        assert len(await events_of(resources, ids[2])) == 2

    async def test_an_old_task_keeps_its_maker(
        self, ada: Person, team: Team, resources: Resources
    ) -> None:
        """Whose it was could be told by its space alone; from now on it is written down."""
        (row,) = await resources.database.fetch(FREE_ROWS, ada.id, None, 1)
        assert (await self.move(ada, [row["id"]], team.id)).status_code == 200
        assert (await ada.get(f"/api/tasks/{row['id']}")).json()["created_by"] == ada.id

    @pytest.mark.parametrize("wrong", ["unknown", "a stranger's", "a viewer's", "leased"])
    async def test_all_or_nothing(
        self, ada: Person, bob: Person, team: Team, resources: Resources, wrong: str
    ) -> None:
        """One task that cannot be moved keeps all of them where they are."""
        mine = await ada.create()
        other: dict[str, Any] = {"id": NOWHERE}
        status, slug = 404, "not-found"
        if wrong == "a stranger's":
            other = await bob.create()
        elif wrong == "a viewer's":
            theirs = await make_team(resources, (bob, "owner"), (ada, "viewer"))
            other = await bob.create(params=at(theirs))
            status, slug = 403, "not-allowed"
        elif wrong == "leased":
            await ada.take(60)
            other, status, slug = await ada.create(), 409, "task-leased"
        answer = await self.move(ada, [mine["id"], other["id"]], team.id)
        assert is_problem(answer, status, slug), answer.text
        assert (await ada.get("/api/tasks", params=at(team))).json() == []
        assert (await ada.get(f"/api/tasks/{mine['id']}")).json()["space_id"] == ada.id

    @pytest.mark.parametrize("role", [*ROLES, None])
    async def test_the_right_is_needed_where_they_go(
        self, ada: Person, bob: Person, team: Team, role: str | None
    ) -> None:
        """Editors may put tasks into a space; others may not, and strangers see none."""
        task = await bob.create()
        await team.add(bob, role)
        answer = await self.move(bob, [task["id"]], team.id)
        if role in {"editor", "owner"}:
            assert answer.status_code == 200
        elif role is None:
            assert is_problem(answer, 404, "not-found")
            assert answer.content == (await self.move(bob, [task["id"]], NOWHERE)).content
        else:
            assert is_problem(answer, 403, "not-allowed")

    async def test_a_lease_that_has_ended_holds_nothing(
        self, ada: Person, team: Team, resources: Resources
    ) -> None:
        """The task is free in its new space."""
        task = await ada.create()
        await ada.take(60)
        query = "UPDATE tasks SET leased_until = now() - interval '1 s' WHERE id = $1"
        await resources.database.fetch(query, task["id"])
        assert (await self.move(ada, [task["id"]], team.id)).status_code == 200
        assert (await ada.take(params=at(team))).json()["id"] == task["id"]

    @pytest.mark.parametrize(
        "body",
        [
            {"ids": [], "space_id": 1},
            {"ids": list(range(1, 1002)), "space_id": 1},
            {"ids": ["1"], "space_id": 1},
            {"ids": [0], "space_id": 1},
            {"ids": [True], "space_id": 1},
            {"ids": 1, "space_id": 1},
            {"ids": [1]},
            {"ids": [1], "space_id": None},
            {"ids": [1], "space_id": 1, "to": 2},
        ],
    )
    async def test_what_is_no_move(self, ada: Person, body: dict[str, Any]) -> None:
        """It is refused."""
        assert is_problem(await ada.post("/api/tasks/move", json=body), 422, "invalid")

    async def test_takers_and_movers_meet(
        self, ada: Person, team: Team, resources: Resources
    ) -> None:
        """Tasks that move while they are taken are taken once, in the one space or the other."""
        rows = await resources.database.fetch(FREE_ROWS, ada.id, ada.id, 200)
        ids = [row["id"] for row in rows]
        taken: list[int] = []

        async def take(params: dict[str, int]) -> None:
            while (answer := await ada.take(params=params)).status_code == 200:
                taken.append(answer.json()["id"])

        async def shift() -> None:
            for start in range(0, len(ids), 20):
                answer = await self.move(ada, ids[start : start + 20], team.id)
                assert answer.status_code == 200, answer.text

        await asyncio.gather(shift(), *(take({}) for _ in range(8)))
        await asyncio.gather(*(take(at(team)) for _ in range(8)))
        assert sorted(taken) == ids
        for task_id in ids:
            found = [sequence for _, sequence, _ in await events_of(resources, task_id)]
            assert found == [2, 3]

    async def test_a_task_that_moves_away_outlives_its_space(
        self, ada: Person, bob: Person, team: Team, resources: Resources
    ) -> None:
        """An account that is deleted while one of its tasks is being moved does not take it."""
        await team.add(bob, "editor")
        task = await bob.create()
        async with resources.database.session() as session:
            connection = await session.connection()
            move = "UPDATE tasks SET owner_id = $1, created_by = $2 WHERE id = $3"
            await connection.exec_driver_sql(move, (team.id, bob.id, task["id"]))
            leaving = asyncio.create_task(bob.delete(f"/api/users/{bob.id}"))
            waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            while not await resources.database.fetch(waits):
                await asyncio.sleep(0.01)
            await session.commit()
        assert (await leaving).status_code == 204
        assert (await ada.get(f"/api/tasks/{task['id']}")).status_code == 200
