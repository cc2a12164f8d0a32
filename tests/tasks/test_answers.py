"""Answers: what is kept of them, who may correct them, skips, and the next task at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.tasks.conftest import make_team
from tests.tasks.test_handout import history, lapse
from tests.tasks.test_routes import is_problem

if TYPE_CHECKING:
    import httpx2

    from atelier.http.resources import Resources
    from tests.tasks.conftest import Person

EVENT = "SELECT type, actor, space_id, data FROM outbox WHERE subject = $1 ORDER BY sequence"


async def events(resources: Resources, task_id: int) -> list[dict[str, Any]]:
    """Type, actor and data of every event about a task."""
    rows = await resources.database.fetch(EVENT, f"tasks/{task_id}")
    return [dict(row) | {"data": json.loads(row["data"])} for row in rows]


async def leased(person: Person, **options: Any) -> tuple[int, int]:
    """The id and token of a task taken for a minute."""
    answer = await person.take(60, **options)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"], answer.json()["lease"]["token"]


async def complete(
    person: Person, task_id: int, token: int, *, query: str = "", **body: Any
) -> httpx2.Response:
    """Complete a task with an answer."""
    path = f"/api/tasks/{task_id}/complete{query}"
    return await person.post(path, json={"token": token} | body)


class TestComplete:
    """POST /api/tasks/{id}/complete with a result."""

    @pytest.mark.parametrize(
        "result",
        ["red", 7, 1.5, True, False, [], {}, [None], {"light": "красный", "deep": [{"a": [1]}]}],
        ids=repr,
    )
    async def test_any_json_is_kept(self, ada: Person, result: object) -> None:
        """The record says what, who and when, in every place where it is shown."""
        await ada.create()
        task_id, token = await leased(ada)
        done = (await complete(ada, task_id, token, result=result)).json()
        assert done["result"] == result
        assert (done["state"], done["completed_by"], done["taken_by"]) == ("done", ada.id, None)
        assert done["completed_at"] >= done["taken_at"]
        assert 0 <= done["seconds"] < 600
        assert (await ada.get(f"/api/tasks/{task_id}")).json() == done
        assert (await ada.get("/api/tasks?state=done")).json() == [done]
        assert (await ada.get("/api/tasks?state=taken")).json() == []

    async def test_no_result_is_no_result(self, ada: Person, resources: Resources) -> None:
        """As before there were answers; who and when are told."""
        await ada.create()
        task_id, token = await leased(ada)
        done = (await complete(ada, task_id, token)).json()
        assert (done["result"], done["completed_by"], done["state"]) == (None, ada.id, "done")
        assert (await history(resources, task_id))[-1] == ("task.completed", 3)

    async def test_the_event_tells_the_answer(self, ada: Person, resources: Resources) -> None:
        """And who gave it."""
        await ada.create()
        task_id, token = await leased(ada)
        await complete(ada, task_id, token, result={"light": "red"})
        event = (await events(resources, task_id))[-1]
        assert (event["type"], event["actor"]) == ("task.completed", f"users/{ada.id}")
        assert event["data"]["result"] == {"light": "red"}
        assert event["data"]["completed_by"] == ada.id

    @pytest.mark.parametrize(
        "result",
        ["x" * (64 * 1024 - 1), {"a": "b\0c"}, {"\0": 1}, json.loads("[" * 33 + "]" * 33)],
        ids=["too long", "NUL", "NUL in a name", "too deep"],
    )
    async def test_what_cannot_be_kept_is_refused(self, ada: Person, result: object) -> None:
        """422, and the lease holds: a result of 64 KiB at most, 32 levels, no NUL."""
        await ada.create()
        task_id, token = await leased(ada)
        assert (await complete(ada, task_id, token, result=result)).status_code == 422
        most = "x" * (64 * 1024 - 2)
        assert (await complete(ada, task_id, token, result=most)).json()["result"] == most

    async def test_a_late_answer_is_not_counted(self, ada: Person, resources: Resources) -> None:
        """Once the lease has ended, by time, by skip, by another's take."""
        await ada.create()
        task_id, token = await leased(ada)
        await lapse(resources, task_id)
        assert is_problem(await complete(ada, task_id, token, result=1), 409, "lease-lost")
        again, newer = await leased(ada)
        assert again == task_id
        assert is_problem(await complete(ada, task_id, token, result=1), 409, "lease-lost")
        assert (await complete(ada, task_id, newer, result=2)).json()["result"] == 2
        query = "SELECT count(*) AS number FROM answers WHERE task_id = $1"
        row = await resources.database.fetchrow(query, task_id)
        assert row
        assert row["number"] == 1

    async def test_a_guessed_token_is_no_lease(
        self, ada: Person, bob: Person, resources: Resources
    ) -> None:
        """Only who took a task holds it, whoever else of the team knows its number."""
        team = await make_team(resources, (ada, "editor"), (bob, "worker"))
        await ada.create(params={"space": team.id})
        task_id, token = await leased(ada, params={"space": team.id})
        assert is_problem(await complete(bob, task_id, token, result=1), 409, "lease-lost")
        for word, more in (("release", {}), ("skip", {"for_seconds": 1})):
            answer = await bob.post(f"/api/tasks/{task_id}/{word}", json={"token": token} | more)
            assert is_problem(answer, 409, "lease-lost")
        assert (await complete(ada, task_id, token, result=1)).status_code == 200

    async def test_the_answer_of_who_left_stays(
        self, ada: Person, bob: Person, resources: Resources
    ) -> None:
        """Without their name."""
        team = await make_team(resources, (ada, "owner"), (bob, "worker"))
        await ada.create(params={"space": team.id})
        task_id, token = await leased(bob, params={"space": team.id})
        await complete(bob, task_id, token, result="red")
        assert (await bob.delete(f"/api/users/{bob.id}")).status_code == 204
        found = (await ada.get(f"/api/tasks/{task_id}")).json()
        assert (found["result"], found["completed_by"], found["state"]) == ("red", None, "done")


class TestNext:
    """POST /api/tasks/{id}/complete?take_next=true."""

    async def test_the_next_one_comes_with_the_answer(self, ada: Person) -> None:
        """Leased as asked; null when none is free."""
        made = [(await ada.create())["id"] for _ in range(2)]
        task_id, token = await leased(ada)
        query = "?take_next=true"
        first = await complete(ada, task_id, token, result=1, query=query, lease_seconds=60)
        following = first.json()["next"]
        assert (first.json()["id"], following["id"]) == (made[0], made[1])
        token = following["lease"]["token"]
        last = await complete(ada, made[1], token, result=2, query=query, lease_seconds=60)
        assert last.json()["next"] is None

    async def test_a_repetition_takes_no_more(self, ada: Person) -> None:
        """Under an Idempotency-Key the same answer comes again, with the same next task."""
        for _ in range(3):
            await ada.create()
        task_id, token = await leased(ada)
        path = f"/api/tasks/{task_id}/complete?take_next=true"
        body = {"token": token, "result": 1, "lease_seconds": 60}
        answers = [
            await ada.post(path, json=body, headers={"Idempotency-Key": "same"}) for _ in range(2)
        ]
        assert answers[0].json() == answers[1].json()
        assert len((await ada.get("/api/tasks?free=true")).json()) == 1


class TestSkip:
    """POST /api/tasks/{id}/skip."""

    async def test_nobody_gets_it_for_so_long(self, ada: Person, resources: Resources) -> None:
        """Not even the only worker; the answer is honest about when there is something."""
        await ada.create()
        task_id, token = await leased(ada)
        answer = await ada.post(
            f"/api/tasks/{task_id}/skip", json={"token": token, "for_seconds": 60}
        )
        skipped = answer.json()
        assert (skipped["state"], skipped["taken_by"]) == ("taken", None)
        assert skipped["skipped_until"]
        assert "lease" not in skipped
        nothing = await ada.take()
        assert is_problem(nothing, 404, "no-free-task")
        assert nothing.json()["leased"] == 1
        assert nothing.json()["next_free_at"] == skipped["skipped_until"]
        await lapse(resources, task_id)
        assert (await ada.take()).json()["id"] == task_id
        told = [
            (event["type"], event["data"].get("reason"))
            for event in await events(resources, task_id)
        ]
        assert told[2:] == [
            ("task.skipped", None), ("task.released", "skipped"), ("task.taken", None)
        ]  # fmt: skip

    async def test_others_go_on(self, ada: Person) -> None:
        """The next oldest is handed out meanwhile."""
        made = [(await ada.create())["id"] for _ in range(2)]
        task_id, token = await leased(ada)
        await ada.post(f"/api/tasks/{task_id}/skip", json={"token": token, "for_seconds": 60})
        assert (await ada.take()).json()["id"] == made[1]

    @pytest.mark.parametrize("guess", [0, 1, 2])
    async def test_a_skipped_task_is_held_by_nobody(self, ada: Person, guess: int) -> None:
        """No token completes it, renews it or gives it back."""
        await ada.create()
        task_id, token = await leased(ada)
        await ada.post(f"/api/tasks/{task_id}/skip", json={"token": token, "for_seconds": 60})
        answer = await complete(ada, task_id, token + guess, result=1)
        assert is_problem(answer, 409, "lease-lost")

    @pytest.mark.parametrize("seconds", [0, -1, 604_801, "5", True, None])
    async def test_an_impossible_time_changes_nothing(self, ada: Person, seconds: object) -> None:
        """422, and the lease holds."""
        await ada.create()
        task_id, token = await leased(ada)
        body = {"token": token, "for_seconds": seconds}
        assert (await ada.post(f"/api/tasks/{task_id}/skip", json=body)).status_code == 422
        assert (await complete(ada, task_id, token)).status_code == 200

    async def test_honest_about_those_with_others(self, ada: Person) -> None:
        """Tasks that were taken for good do not come back, and are not promised."""
        for _ in range(3):
            await ada.create()
        await ada.take()
        leases = [await ada.take(600), await ada.take(60)]
        nothing = (await ada.take()).json()
        assert nothing["leased"] == 2
        assert nothing["next_free_at"] == leases[1].json()["lease"]["expires_at"]
        assert (await complete(ada, leases[0].json()["id"], 2)).status_code == 200
        assert (await complete(ada, leases[1].json()["id"], 2)).status_code == 200
        nothing = (await ada.take()).json()
        assert (nothing["leased"], nothing["next_free_at"]) == (0, None)


class TestCorrect:
    """PATCH /api/tasks/{id}/answer."""

    async def answered(self, person: Person, space: int) -> int:
        """A task of the space that the person has answered."""
        task_id, token = await leased(person, params={"space": space})
        await complete(person, task_id, token, result="red")
        return task_id

    async def test_by_its_author_or_an_editor(
        self, ada: Person, bob: Person, resources: Resources
    ) -> None:
        """The event keeps the former answer, and tells who changed it."""
        team = await make_team(resources, (ada, "editor"), (bob, "worker"))
        await ada.create(params={"space": team.id})
        task_id = await self.answered(bob, team.id)
        path = f"/api/tasks/{task_id}/answer"
        first = await bob.client.patch(path, json={"result": "green"})
        assert first.status_code == 200
        second = await ada.client.patch(path, json={"result": "amber"})
        assert second.json()["result"] == "amber"
        assert second.json()["completed_by"] == bob.id
        assert int(second.headers["etag"].strip('"')) == int(first.headers["etag"].strip('"')) + 1
        told = [
            (each["type"], each["actor"], each["data"]["former"], each["data"]["result"])
            for each in (await events(resources, task_id))[-2:]
        ]
        assert told == [
            ("task.answered", f"users/{bob.id}", "red", "green"),
            ("task.answered", f"users/{ada.id}", "green", "amber"),
        ]

    async def test_by_no_other_worker(
        self, ada: Person, bob: Person, resources: Resources
    ) -> None:
        """403, and the answer stays."""
        team = await make_team(resources, (ada, "editor"), (bob, "worker"))
        await ada.create(params={"space": team.id})
        task_id = await self.answered(ada, team.id)
        answer = await bob.client.patch(f"/api/tasks/{task_id}/answer", json={"result": "x"})
        assert is_problem(answer, 403, "not-allowed")
        assert (await ada.get(f"/api/tasks/{task_id}")).json()["result"] == "red"

    async def test_the_same_answer_is_no_event(self, ada: Person, resources: Resources) -> None:
        """Nothing happens when nothing changes, whatever the order of names; 1 is not true."""
        await ada.create()
        task_id, token = await leased(ada)
        await complete(ada, task_id, token, result={"b": 1, "a": [2]})
        before, path = await history(resources, task_id), f"/api/tasks/{task_id}/answer"
        for result in ({"b": 1, "a": [2]}, {"a": [2], "b": 1}):
            assert (await ada.client.patch(path, json={"result": result})).status_code == 200
            assert await history(resources, task_id) == before
        await ada.client.patch(path, json={"result": {"b": True, "a": [2]}})
        assert len(await history(resources, task_id)) == len(before) + 1

    async def test_only_in_the_state_that_was_read(self, ada: Person) -> None:
        """412 with another entity tag."""
        await ada.create()
        task_id = await self.answered(ada, ada.id)
        answer = await ada.client.patch(
            f"/api/tasks/{task_id}/answer", json={"result": "x"}, headers={"If-Match": '"1"'}
        )
        assert is_problem(answer, 412, "precondition-failed")

    async def test_there_must_be_one(self, ada: Person) -> None:
        """409 for a task that nobody has completed, 404 for none."""
        task_id = (await ada.create())["id"]
        for path, status, slug in (
            (f"/api/tasks/{task_id}/answer", 409, "no-answer"),
            (f"/api/tasks/{2**40}/answer", 404, "not-found"),
        ):
            assert is_problem(await ada.client.patch(path, json={"result": 1}), status, slug)


async def test_the_filters_of_the_list(ada: Person) -> None:
    """By state; not by two things that say the same."""
    made = [(await ada.create())["id"] for _ in range(3)]
    task_id, token = await leased(ada)
    await complete(ada, task_id, token)
    await leased(ada)
    for state, wanted in (("done", made[:1]), ("taken", made[1:2]), ("free", made[2:])):
        found = (await ada.get(f"/api/tasks?state={state}")).json()
        assert [each["id"] for each in found] == wanted
        assert {each["state"] for each in found} == {state}
    assert (await ada.get("/api/tasks?state=free&free=true")).status_code == 422
    assert (await ada.get("/api/tasks?state=lost")).status_code == 422
