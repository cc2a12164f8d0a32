"""The counters: exact under concurrency, never falling; and the total of all of them."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from tests.tasks.conftest import Person

if TYPE_CHECKING:
    from fastapi import FastAPI

    from atelier.http.resources import Resources

# Shards whose total is not the sum of the counters of their users.
ASTRAY = """
    SELECT *
    FROM (SELECT id % 64 AS shard, sum(tasks_created) AS counted FROM users GROUP BY 1) AS users
    FULL JOIN task_totals USING (shard) WHERE coalesce(counted, 0) <> coalesce(created, 0)
"""


async def test_counters_are_exact_while_tasks_come_and_go(
    application: FastAPI, resources: Resources
) -> None:
    """Each user's counter and the total grow with each task made and never fall."""
    people = [await Person(application).enter() for _ in range(4)]
    before, made, done = await people[0].total(), [15, 20, 25, 30], asyncio.Event()

    async def work(person: Person, count: int) -> None:
        for number in range(count):
            task = await person.create()
            if number % 2:
                assert (await person.delete(f"/api/tasks/{task['id']}")).status_code == 204

    async def watch() -> list[tuple[int, ...]]:
        seen = []
        while not done.is_set():
            seen.append((await people[0].total(), *[await person.counter() for person in people]))
        return seen

    watching = asyncio.create_task(watch())
    # Two hands for each person: their requests meet on the same counter.
    await asyncio.gather(
        *(work(p, n) for p, n in zip(people, made, strict=True) for _ in range(2))
    )
    done.set()
    seen = await watching
    assert len(seen) > 1
    assert all(
        a <= b
        for older, newer in itertools.pairwise(seen)
        for a, b in zip(older, newer, strict=True)
    )
    assert [await person.counter() for person in people] == [2 * count for count in made]
    assert await people[0].total() == before + 2 * sum(made)
    assert not await resources.database.fetch(ASTRAY)


async def test_a_user_who_leaves_takes_their_count_along(
    ada: Person, bob: Person, resources: Resources
) -> None:
    """The total is the sum over the users that there are.

    Deleting tasks beforehand makes no difference.
    """
    before = await bob.total()
    for _ in range(3):
        await ada.create()
    await bob.create()
    await ada.delete(f"/api/tasks/{(await ada.create())['id']}")
    assert await bob.total() == before + 5
    assert (await ada.delete(f"/api/users/{ada.id}")).status_code == 204
    assert await bob.total() == before + 1
    assert not await resources.database.fetch(ASTRAY)


async def test_a_user_who_leaves_while_making_tasks_leaves_no_count(
    application: FastAPI, bob: Person, resources: Resources
) -> None:
    """Whichever of the two comes first, the total is the sum of the counters."""
    before = await bob.total()
    for _ in range(3):
        person = await Person(application).enter()
        making = [
            asyncio.create_task(
                person.post("/api/tasks", files={"image": b"GIF89a"}, data={"meta": ""})
            )
            for _ in range(6)
        ]
        await asyncio.sleep(0.02)
        assert (await person.delete(f"/api/users/{person.id}")).status_code == 204
        await asyncio.gather(*making)
    assert await bob.total() == before
    assert not await resources.database.fetch(ASTRAY)


async def test_the_total_costs_the_same_for_any_number_of_users(resources: Resources) -> None:
    """It is read from a fixed number of rows."""
    assert len(await resources.database.fetch("SELECT shard FROM task_totals")) <= 64
    plan = await resources.database.fetch("EXPLAIN SELECT sum(created) FROM task_totals")
    assert "users" not in str(plan)
