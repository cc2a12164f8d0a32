"""Handing out: order, honesty, retries, leases and their fences."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from atelier.tasks import handout
from atelier.tasks.pools import SPACE, Pool
from atelier.tasks.watermarks import LIFE_SECONDS, Watermarks
from tests.problems import is_problem
from tests.waiting import patience

if TYPE_CHECKING:
    from atelier.http.resources import Resources
    from tests.tasks.conftest import Person


async def lapse(resources: Resources, task_id: int) -> None:
    """Let the lease of a task run out now."""
    await resources.database.fetch(
        "UPDATE tasks SET leased_until = now() - interval '1 millisecond' WHERE id = $1", task_id
    )


async def history(resources: Resources, task_id: int) -> list[tuple[str, int]]:
    """Type and sequence of every event about a task."""
    query = "SELECT type, sequence FROM outbox WHERE subject = $1 ORDER BY sequence"
    return [tuple(row) for row in await resources.database.fetch(query, f"tasks/{task_id}")]


class TestTake:
    """POST /api/tasks/take."""

    async def test_oldest_first(self, ada: Person) -> None:
        """In the order of their making, each once, then an honest `no-free-task`."""
        made = [(await ada.create())["id"] for _ in range(3)]
        taken = [await ada.take() for _ in made]
        assert [answer.json()["id"] for answer in taken] == made
        assert not taken[0].json()["free"]
        assert taken[0].json()["taken_at"]
        assert "lease" not in taken[0].json()
        assert is_problem(await ada.take(), 404, "no-free-task")

    async def test_a_body_is_not_needed(self, ada: Person) -> None:
        """Nor a media type."""
        await ada.create()
        assert (await ada.post("/api/tasks/take")).status_code == 200

    @pytest.mark.parametrize("seconds", [0, -1, 604_801, "5", True, 1.5])
    async def test_an_impossible_lease_takes_nothing(self, ada: Person, seconds: object) -> None:
        """422, and the task stays free."""
        await ada.create()
        answer = await ada.post("/api/tasks/take", json={"lease_seconds": seconds})
        assert is_problem(answer, 422, "invalid")
        assert len((await ada.get("/api/tasks?free=true")).json()) == 1

    async def test_each_task_once_among_many_takers(self, ada: Person) -> None:
        """And every taker who came to nothing did so because nothing was left."""
        made = [(await ada.create())["id"] for _ in range(20)]
        answers = await asyncio.gather(*(ada.take() for _ in range(30)))
        assert sorted(a.json()["id"] for a in answers if a.status_code == 200) == made
        assert sum(a.status_code == 404 for a in answers) == 10

    async def test_none_is_not_said_while_one_may_come_free(
        self, ada: Person, resources: Resources
    ) -> None:
        """A task that another transaction holds may be given back: the taker waits and gets it."""
        made = await ada.create()
        async with resources.database.session() as session:
            await session.execute(
                text("SELECT 1 FROM tasks WHERE id = :id FOR UPDATE"), {"id": made["id"]}
            )
            taking = asyncio.create_task(ada.take())
            await asyncio.sleep(0.2)
            assert not taking.done()
            await session.rollback()
        assert (await taking).json()["id"] == made["id"]

    async def test_patience_ends(
        self, ada: Person, resources: Resources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With 503 and when to ask again: that nothing is free would not be true."""
        monkeypatch.setattr(handout, "PATIENCE_SECONDS", 0.05)
        made = await ada.create()
        async with resources.database.session() as session:
            await session.execute(
                text("SELECT 1 FROM tasks WHERE id = :id FOR UPDATE"), {"id": made["id"]}
            )
            answer = await ada.take()
            await session.rollback()
        assert is_problem(answer, 503, "unavailable")
        assert answer.headers["retry-after"] == "1"

    async def test_a_deleted_task_is_not_handed_out(self, ada: Person) -> None:
        """Deleting and taking at once: each task has one fate."""
        made = [(await ada.create())["id"] for _ in range(10)]
        deletions = [ada.delete(f"/api/tasks/{task_id}") for task_id in made[:5]]
        answers = await asyncio.gather(*deletions, *(ada.take() for _ in range(10)))
        taken = [a.json()["id"] for a in answers[5:] if a.status_code == 200]
        assert len(set(taken)) == len(taken)
        assert set(made[5:]) <= set(taken)
        left = {task["id"] for task in (await ada.get("/api/tasks")).json()}
        assert left == set(made[5:])

    async def test_events_are_numbered_without_gaps(
        self, ada: Person, resources: Resources
    ) -> None:
        """Created, taken, released, taken, completed, deleted."""
        task_id = (await ada.create())["id"]
        token = (await ada.take(60)).json()["lease"]["token"]
        await ada.post(f"/api/tasks/{task_id}/release", json={"token": token})
        token = (await ada.take(60)).json()["lease"]["token"]
        await ada.post(f"/api/tasks/{task_id}/complete", json={"token": token})
        await ada.delete(f"/api/tasks/{task_id}")
        types = ["created", "taken", "released", "taken", "completed", "deleted"]
        assert await history(resources, task_id) == [
            (f"task.{name}", n) for n, name in enumerate(types, 1)
        ]


class TestRetry:
    """A client whose connection broke asks again under the same key."""

    @pytest.mark.parametrize("lease_seconds", [None, 60])
    async def test_the_same_task_comes_again(self, ada: Person, lease_seconds: int | None) -> None:
        """Answer for answer, and only one task is taken; by the seed's path, too."""
        await ada.create()
        await ada.create()
        key = {"Idempotency-Key": uuid.uuid4().hex}
        first = await ada.take(lease_seconds, headers=key)
        again = await ada.take(lease_seconds, headers=key)
        assert again.content == first.content
        assert again.headers["idempotent-replayed"] == "true"
        assert again.headers["cache-control"] == "no-store"
        if lease_seconds is None:
            assert (await ada.get("/take_free_task", headers=key)).content == first.content
        assert len((await ada.get("/api/tasks?free=true")).json()) == 1

    async def test_many_at_once_are_one(self, ada: Person) -> None:
        """Those that come while the first is at work wait for it."""
        for _ in range(5):
            await ada.create()
        key = {"Idempotency-Key": uuid.uuid4().hex}
        answers = await asyncio.gather(*(ada.take(headers=key) for _ in range(5)))
        assert {a.status_code for a in answers} == {200}
        assert len({a.json()["id"] for a in answers}) == 1
        assert len((await ada.get("/api/tasks?free=false")).json()) == 1

    async def test_nothing_is_kept_of_a_failure(self, ada: Person) -> None:
        """The key that found no task gets one as soon as there is one."""
        key = {"Idempotency-Key": uuid.uuid4().hex}
        assert is_problem(await ada.take(headers=key), 404, "no-free-task")
        made = await ada.create()
        assert (await ada.take(headers=key)).json()["id"] == made["id"]

    async def test_another_request_under_the_key_is_refused(self, ada: Person) -> None:
        """A lease is not the same request as none."""
        await ada.create()
        key = {"Idempotency-Key": uuid.uuid4().hex}
        await ada.take(headers=key)
        assert is_problem(await ada.take(60, headers=key), 422, "idempotency-key-reused")

    @pytest.mark.parametrize("operation", ["release", "complete"])
    async def test_the_end_of_a_lease_can_be_told_twice(self, ada: Person, operation: str) -> None:
        """Under one key; without one the second time is too late."""
        path = f"/api/tasks/{(await ada.create())['id']}/{operation}"
        body = {"token": (await ada.take(60)).json()["lease"]["token"]}
        key = {"Idempotency-Key": uuid.uuid4().hex}
        first = await ada.post(path, json=body, headers=key)
        assert first.status_code == 200, first.text
        assert (await ada.post(path, json=body, headers=key)).content == first.content
        assert is_problem(await ada.post(path, json=body), 409, "lease-lost")


class TestLease:
    """Taken for a time."""

    async def test_release_frees_the_task(self, ada: Person) -> None:
        """For the next taker, in its old place."""
        made = [(await ada.create())["id"] for _ in range(2)]
        token = (await ada.take(60)).json()["lease"]["token"]
        answer = await ada.post(f"/api/tasks/{made[0]}/release", json={"token": token})
        assert (answer.status_code, answer.json()["free"], answer.json()["taken_at"]) == (
            200,
            True,
            None,
        )
        assert (await ada.take()).json()["id"] == made[0]

    async def test_renew_restarts_the_lease(self, ada: Person) -> None:
        """Under the same token."""
        task_id = (await ada.create())["id"]
        lease = (await ada.take(60)).json()["lease"]
        renewal = {"token": lease["token"], "lease_seconds": 3600}
        renewed = (await ada.post(f"/api/tasks/{task_id}/renew", json=renewal)).json()["lease"]
        assert renewed["token"] == lease["token"]
        assert renewed["expires_at"] > lease["expires_at"]

    async def test_complete_keeps_the_task_taken(self, ada: Person, resources: Resources) -> None:
        """For good: no expiry, no further word of its holder."""
        task_id = (await ada.create())["id"]
        token = (await ada.take(60)).json()["lease"]["token"]
        answer = await ada.post(f"/api/tasks/{task_id}/complete", json={"token": token})
        assert (answer.status_code, answer.json()["free"]) == (200, False)
        await handout.expire(resources.database)
        assert is_problem(await ada.take(), 404, "no-free-task")

    async def test_what_ran_out_is_free_again(self, ada: Person, resources: Resources) -> None:
        """By the upkeep's hand, in its old place."""
        made = [(await ada.create())["id"] for _ in range(2)]
        await ada.take(60)
        await lapse(resources, made[0])
        assert await handout.expire(resources.database) >= 1
        assert [task["free"] for task in (await ada.get("/api/tasks")).json()] == [True, True]
        await asyncio.sleep(LIFE_SECONDS)
        assert (await ada.take()).json()["id"] == made[0]

    async def test_a_taker_need_not_wait_for_the_upkeep(
        self, ada: Person, resources: Resources
    ) -> None:
        """With nothing else free, what ran out is handed out at once.

        Each once, with 20 takers about.
        """
        made = [(await ada.create())["id"] for _ in range(10)]
        for task_id in made:
            await ada.take(60)
            await lapse(resources, task_id)
        answers = await asyncio.gather(*(ada.take() for _ in range(20)))
        assert sorted(a.json()["id"] for a in answers if a.status_code == 200) == made

    async def test_a_short_lease_runs_out_by_itself(self, ada: Person) -> None:
        """The task is handed out again, without any other request."""
        made = await ada.create()
        await ada.take(1)
        async with patience():
            while (answer := await ada.take(1)).status_code != 200:
                await asyncio.sleep(0.1)
        assert answer.json()["id"] == made["id"]

    @pytest.mark.parametrize("operation", ["renew", "release", "complete"])
    @pytest.mark.parametrize("fate", ["expired", "freed", "retaken", "plain", "wrong"])
    async def test_a_late_holder_is_refused(
        self, ada: Person, resources: Resources, operation: str, fate: str
    ) -> None:
        """Whatever became of the task meanwhile, it stays as it is."""
        task_id = (await ada.create())["id"]
        taken = (await ada.take(None if fate == "plain" else 60)).json()
        token = taken["lease"]["token"] if "lease" in taken else 2
        if fate in ("expired", "freed", "retaken"):
            await lapse(resources, task_id)
        if fate in ("freed", "retaken"):
            await handout.expire(resources.database)
        if fate == "retaken":
            assert (await ada.take(60)).json()["lease"]["token"] > token
        before = (await ada.get(f"/api/tasks/{task_id}")).content
        body = {"token": token + (fate == "wrong")} | (
            {"lease_seconds": 9} if operation == "renew" else {}
        )
        assert is_problem(
            await ada.post(f"/api/tasks/{task_id}/{operation}", json=body), 409, "lease-lost"
        )
        assert (await ada.get(f"/api/tasks/{task_id}")).content == before

    @pytest.mark.parametrize(
        "body", [{}, {"token": "2"}, {"token": 0}, {"token": 2**31}, {"token": 2, "x": 1}]
    )
    async def test_a_bad_token_is_refused(self, ada: Person, body: dict[str, object]) -> None:
        """Before the database is asked."""
        task_id = (await ada.create())["id"]
        await ada.take(60)
        assert is_problem(
            await ada.post(f"/api/tasks/{task_id}/complete", json=body), 422, "invalid"
        )

    async def test_expiring_many_takes_several_statements(
        self, ada: Person, resources: Resources
    ) -> None:
        """However many leases ran out, all of them are freed."""
        rows = (
            "SELECT $1, '', false, 'x', 'PNG', 'image/png', 1, '', 2, now(), now() FROM "
            "generate_series(1, 2500)"
        )
        columns = (
            "owner_id, meta, free, blob, format, media_type, size, sha256, sequence, "
            "created_at, leased_until"
        )
        await resources.database.fetch(f"INSERT INTO tasks ({columns}) {rows}", ada.id)
        assert await handout.expire(resources.database) >= 2500
        assert await handout.expire(resources.database) == 0
        await resources.database.fetch("DELETE FROM tasks WHERE owner_id = $1", ada.id)

    async def test_a_lease_is_the_time_asked_for(self, ada: Person, resources: Resources) -> None:
        """From the moment of the hand-out."""
        task_id = (await ada.create())["id"]
        pool = Pool(SPACE, ada.id)
        row = await handout.take(
            resources.database.fetchrow, Watermarks(), ada.id, pool, timedelta(seconds=90)
        )
        assert row["id"] == task_id
        assert (
            timedelta(seconds=90) <= row["leased_until"] - row["taken_at"] < timedelta(seconds=91)
        )
