"""A team's space with one of everything in it, and the people who ask for that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import psycopg

from atelier.auth import GRANTABLE, Role
from tests.api.people import Person, sign_up, things_of

if TYPE_CHECKING:
    import httpx2
    from fastapi import FastAPI

    from tests.api.operations import Operation

TABLES = {"images": "image_id", "tasks": "task_id", "files": "file_id"}
SPACE = "INSERT INTO spaces (name, created_at) VALUES ('a team', now()) RETURNING id"
MEMBER = """
    INSERT INTO members (space_id, user_id, role, created_at) VALUES (%s, %s, %s, now())
"""
ROLES: dict[str, Role | None] = {
    "stranger": None,
    "removed member": None,
    "viewer": Role.VIEWER,
    "worker": Role.WORKER,
    "editor": Role.EDITOR,
    "owner": Role.OWNER,
}
ONCE = {"removed member": Role.OWNER, "disabled user": Role.OWNER}  # what they had been
KEYS = ("key", "key without the right")  # of an editor, for the team's space
DEAD = ("nobody", "disabled user")
CALLERS = (*DEAD, *ROLES, *KEYS)


class World(NamedTuple):
    """The running application, and the database behind it."""

    app: FastAPI
    client: httpx2.AsyncClient
    database_url: str

    def execute(self, statement: str, *values: object) -> int:
        """Change rows behind the application's back, which then remembers nobody; the first id."""
        with psycopg.connect(self.database_url) as connection:
            done = connection.execute(statement, values)
            row = done.fetchone() if done.description else None
        self.app.state.resources.authenticator.clear()
        return int(row[0]) if row else 0


@dataclass(frozen=True, slots=True)
class Team:
    """A space, its first owner, and one of each of what a space holds."""

    id: int
    owner: Person
    things: dict[str, object]


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who asks, and what they are in the team."""

    kind: str
    person: Person
    keys: dict[str | None, str]

    @property
    def role(self) -> Role | None:
        """Their role; None for those who are no members."""
        return Role.EDITOR if self.keys else ROLES.get(self.kind)

    def headers(self, operation: Operation) -> dict[str, str]:
        """The headers of a request for an operation."""
        if self.kind == "nobody":
            return {}
        if not self.keys:
            return self.person.headers
        lacking = operation.right if self.kind == "key without the right" else None
        return {"Authorization": f"Bearer {self.keys[lacking]}"}


async def make_team(world: World) -> Team:
    """A team of one owner, with new things in its space."""
    owner = await sign_up(world.client)
    space_id = world.execute(SPACE)
    world.execute(MEMBER, space_id, owner.id, Role.OWNER)
    return Team(space_id, owner, await things_in(world, owner, space_id))


async def things_in(world: World, owner: Person, space_id: int) -> dict[str, object]:
    """One of each, just made, in a space: values of path parameters."""
    things = await things_of(world.client, owner) | {"space_id": space_id}
    for table, name in TABLES.items():
        statement = f"UPDATE {table} SET owner_id = %s, created_by = %s WHERE id = %s"
        world.execute(statement, space_id, owner.id, things[name])
    world.execute("UPDATE queues SET space_id = %s WHERE id = %s", space_id, things["queue_id"])
    return things


async def make_caller(world: World, team: Team, kind: str) -> Caller:
    """Somebody new of this kind."""
    person = await sign_up(world.client)
    role = Role.EDITOR if kind in KEYS else (ROLES | ONCE).get(kind)
    if role:
        world.execute(MEMBER, team.id, person.id, role)
        assert (await world.client.get("/api/users/me", headers=person.headers)).status_code == 200
    keys = await _keys(world, person, team.id) if kind in KEYS else {}
    if kind == "removed member":
        world.execute("DELETE FROM members WHERE user_id = %s", person.id)
    if kind == "disabled user":
        world.execute("UPDATE users SET disabled_at = now() WHERE id = %s", person.id)
    return Caller(kind, person, keys)


async def _keys(world: World, person: Person, space_id: int) -> dict[str | None, str]:
    """Keys for a space by the right that each lacks; the one under None has every right."""
    found: dict[str | None, str] = {}
    for lacking in (None, *GRANTABLE):
        rights = sorted(GRANTABLE - {lacking})
        body = {"name": "k", "rights": rights, "space_id": space_id}
        answer = await world.client.post("/api/keys", json=body, headers=person.headers)
        assert answer.status_code == 201, answer.text
        found[lacking] = answer.json()["key"]
    return found
