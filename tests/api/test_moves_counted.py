"""Quotas hold exactly while things of every kind are moved, uploaded, deleted and counted anew."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.api.people import is_problem, sign_up
from tests.api.teams import World
from tests.api.test_moves import RECORDS, UPLOADS, make, move, team_of
from tests.api.test_quotas import COUNTED

if TYPE_CHECKING:
    import httpx2
    from fastapi import FastAPI

    from atelier.settings import Settings
    from tests.api.people import Person

OBJECTS = 12
ROUNDS = 8
REQUESTS = 36  # at once
USAGE = "SELECT objects, bytes FROM owner_usage WHERE owner_id = %s"


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    """Those of the other modules, with a quota."""
    return settings.model_copy(update={"quota_objects": OBJECTS})


@pytest.fixture
def world(app: FastAPI, client: httpx2.AsyncClient, database_url: str) -> World:
    """The application of this module."""
    return World(app, client, database_url)


class Scene:
    """Two people who do everything at once in three spaces."""

    def __init__(self, world: World, people: list[Person], spaces: list[int], seed: int) -> None:
        self.world, self.people, self.spaces = world, people, spaces
        self.client = world.client
        self.choose = random.Random(seed)
        self.things: dict[str, list[int]] = {kind: [] for kind in UPLOADS}

    async def upload(self, kind: str) -> httpx2.Response:
        """One thing more, if there is room."""
        path, body = UPLOADS[kind]
        query = {"space": self.choose.choice(self.spaces)}
        headers = self.choose.choice(self.people).headers
        answer = await self.client.post(path, params=query, headers=headers, **body)
        if answer.status_code == 201:
            self.things[kind].append(answer.json()["id"])
        return answer

    async def move(self, kind: str) -> httpx2.Response:
        """Some of what there is, in any order."""
        known = self.things[kind]
        some = self.choose.sample(known, min(len(known), self.choose.randint(1, 4))) or [1]
        person = self.choose.choice(self.people)
        return await move(self.client, person, kind, some, self.choose.choice(self.spaces))

    async def delete(self, kind: str) -> httpx2.Response:
        """One of them."""
        known = self.things[kind]
        thing = known.pop(self.choose.randrange(len(known))) if known else 1
        path = RECORDS[kind].removesuffix("/info").format(thing)
        return await self.client.delete(path, headers=self.choose.choice(self.people).headers)

    async def round(self) -> list[httpx2.Response]:
        """Many requests at once, in which the counting of a space begins; their answers."""
        statement = "DELETE FROM owner_usage WHERE owner_id = %s"
        self.world.execute(statement, self.choose.choice(self.spaces))
        deeds = [self.upload, self.move, self.move, self.move, self.delete]
        kinds = list(UPLOADS)
        asked = [
            deeds[number % len(deeds)](kinds[number // len(deeds) % len(kinds)])
            for number in range(REQUESTS)
        ]
        return await asyncio.gather(*asked)

    def counted(self) -> None:
        """Check that each space has what is counted, and no more than it may."""
        with psycopg.connect(self.world.database_url) as connection:
            for space in self.spaces:
                real = connection.execute(COUNTED, [space]).fetchone()
                usage = connection.execute(USAGE, [space]).fetchone()
                assert real
                assert real[0] <= OBJECTS
                assert usage in {None, real}


@pytest.mark.parametrize("seed", [1, 2])
async def test_quotas_hold_while_everything_moves(world: World, seed: int) -> None:
    """Nothing is over, nothing is miscounted, and nobody waits for another in a circle."""
    people = [await sign_up(world.client) for _ in range(2)]
    scene = Scene(world, people, [team_of(world, *people) for _ in range(3)], seed)
    for kind in UPLOADS:
        scene.things[kind] = [
            await make(world.client, people[0], kind, space) for space in scene.spaces * 2
        ]
    seen = set()
    for _ in range(ROUNDS):
        answers = await scene.round()
        wrong = [a.text for a in answers if a.status_code not in {200, 201, 204, 403, 404}]
        assert wrong == []
        seen |= {answer.status_code for answer in answers}
        scene.counted()
    assert {200, 201, 204} <= seen
    await fill(scene)


async def fill(scene: Scene) -> None:
    """Every place that is left is given, and not one more."""
    person = scene.people[0]
    for space in scene.spaces:
        path, body = UPLOADS["tasks"]
        while True:
            query = {"space": space}
            answer = await scene.client.post(path, params=query, headers=person.headers, **body)
            if answer.status_code != 201:
                break
        assert is_problem(answer, 403)
        with psycopg.connect(scene.world.database_url) as connection:
            row = connection.execute(COUNTED, [space]).fetchone()
        assert row
        assert row[0] == OBJECTS
