"""Who may do what in a team's space: every operation by everybody, in every role and without one.

The operations and the rights that they need are those of the OpenAPI document, so that none can be
forgotten; what gRPC offers is in tests/rpc/test_rights.py.
"""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from django.db.backends.utils import CursorWrapper
from sqlalchemy import event

from atelier.auth import Right
from atelier.auth.principal import ROLE_RIGHTS
from atelier.database import Database
from tests.api.operations import Operation, secured
from tests.api.people import things_of
from tests.api.teams import (
    CALLERS,
    DEAD,
    KEYS,
    TABLES,
    Caller,
    Team,
    World,
    make_caller,
    make_team,
    things_in,
)
from tests.api.test_permissions import NOWHERE, said

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2
    from fastapi import FastAPI

# Operations on a space itself and the right that they need there; None: every member may.
ON_SPACES: dict[str, Right | None] = {
    "spaces.read": None,
    "spaces.member_index": None,
    "spaces.change": Right.MANAGE,
    "spaces.change_member": Right.MANAGE,
    "spaces.remove_member": Right.MANAGE,
    "spaces.delete": Right.MANAGE,
    "invitations.create": Right.MANAGE,
}
ENDS = {"accounts.logout", "accounts.sign_out", "accounts.change_password"}  # of the session
PARTS = {"no-free-task", "not-ready", "processing-failed"}  # 404 of what is there
LIFE_SIGN = "SELECT 1"  # whether a connection is well, now and then
# No worker has made it; nothing of that name is in the trash.
NOT_YET = {"files.thumbnail", "trash.restore", "trash.purge"}


@pytest.fixture
def world(app: FastAPI, client: httpx2.AsyncClient, database_url: str) -> World:
    """The application of this module."""
    return World(app, client, database_url)


@pytest.fixture
async def team(world: World) -> Team:
    """A team with new things."""
    return await make_team(world)


def moves(operation: Operation) -> bool:
    """True if it takes things to another space, which its body names."""
    return operation.id.endswith(".move")


def listed(operation: Operation) -> bool:
    """True if it lists, makes or hands out things of the space that `?space=` names."""
    return operation.rule == "own" and operation.right is not None and not moves(operation)


def in_order(document: dict[str, Any]) -> list[Operation]:
    """All that need a token; what deletes comes last, and what holds others after them."""

    def late(one: Operation) -> tuple[int, int]:
        deletes = one.method == "delete"
        return deletes + one.id.startswith("spaces."), -one.path.count("/") if deletes else 0

    return sorted(secured(document), key=late)


def wanted(operation: Operation, caller: Caller) -> str:
    """The answer that a caller must get for the team's things."""
    if caller.kind in DEAD:
        return "unauthenticated"
    if operation.rule == "forbidden" or caller.kind == "key without the right":
        return "forbidden"
    hidden = operation.rule == "hidden" or listed(operation) or moves(operation)
    if not hidden:
        return "allowed"
    if operation.right is None and operation.id not in ON_SPACES:
        return "missing"  # it is the owner's as a person: sessions, keys
    if caller.role is None:
        return "missing"
    right = operation.right or ON_SPACES[operation.id]
    return "allowed" if right is None or right in ROLE_RIGHTS[caller.role] else "forbidden"


def verdict(answer: httpx2.Response) -> str:
    """What an answer says of the caller."""
    told = {401: "unauthenticated", 403: "forbidden", 404: "missing"}
    if answer.status_code == 404 and answer.json()["type"].rpartition("/")[2] in PARTS:
        return "allowed"
    return "broken" if answer.status_code >= 500 else told.get(answer.status_code, "allowed")


async def ask(
    world: World, operation: Operation, values: dict[str, object], headers: dict[str, str]
) -> httpx2.Response:
    """Send it, lists and creations with the space of `values`."""
    if moves(operation):
        kind = operation.id.partition(".")[0]
        body = {"ids": [values[TABLES[kind]]], "space_id": values["target"]}
        return await world.client.post(operation.path, json=body, headers=headers)
    if listed(operation):
        operation = replace(operation, path=f"{operation.path}?space={{space_id}}")
    return await operation.send(world.client, values, headers)


def test_every_operation_is_in_a_space_or_in_none(document: dict[str, Any]) -> None:
    """Lists, creations and hand-outs take `?space=`, and operations on spaces are known here."""
    spacious = {
        operation["operationId"].partition(".2")[0]
        for item in document["paths"].values()
        for operation in item.values()
        if isinstance(operation, dict)
        and any(each.get("name") == "space" for each in operation.get("parameters", ()))
    }
    found = secured(document)
    assert {operation.id for operation in found if listed(operation)} <= spacious
    assert {operation.id for operation in found if "{space_id}" in operation.path} <= set(
        ON_SPACES
    )
    assert {operation.id for operation in found if moves(operation)} <= {
        f"{kind}.move" for kind in TABLES
    }


@pytest.mark.parametrize("kind", CALLERS)
async def test_everybody_does_what_their_role_allows(
    document: dict[str, Any], world: World, team: Team, kind: str
) -> None:
    """In a team's space, with nothing done by those who may not."""
    caller = await make_caller(world, team, kind)
    values = team.things | {"target": caller.person.id}
    wrong = []
    for operation in in_order(document):
        if operation.id in ENDS or (kind in KEYS and (not operation.right or moves(operation))):
            continue  # keys and what no key may do: tests/api/test_rights.py
        right = wanted(operation, caller)
        if right == "allowed" and operation.method == "delete":
            if not operation.path.startswith("/api/"):
                continue  # it is gone
        elif right == "allowed" and moves(operation):
            values |= await things_in(world, team.owner, team.id)
        answer = await ask(world, operation, values, caller.headers(operation))
        got = verdict(answer)
        if got != right and not (operation.id in NOT_YET and got == "missing"):
            wrong.append(f"{operation.id}: {right}, but {answer.status_code} {answer.text[:150]}")
    assert wrong == []


@pytest.mark.parametrize("kind", ["stranger", "removed member", "viewer"])
async def test_everybody_is_the_owner_at_home(
    document: dict[str, Any], world: World, team: Team, kind: str
) -> None:
    """Whatever somebody is elsewhere: in their own space they do everything."""
    caller = await make_caller(world, team, kind)
    things = await things_of(world.client, caller.person)
    things |= {"space_id": caller.person.id}
    wrong = []
    for operation in in_order(document):
        if operation.right and operation.path.startswith("/api/") and not moves(operation):
            answer = await ask(world, operation, things, caller.person.headers)
            if verdict(answer) != "allowed" and operation.id not in NOT_YET:
                wrong.append(f"{operation.id}: {answer.status_code} {answer.text[:150]}")
    assert wrong == []


async def test_a_key_is_for_its_space_alone(
    document: dict[str, Any], world: World, team: Team
) -> None:
    """What its maker has elsewhere, at home above all, does not exist for it."""
    caller = await make_caller(world, team, "key")
    things = await things_of(world.client, caller.person)
    things |= {"space_id": caller.person.id, "target": team.id}
    wrong = []
    for operation in secured(document):
        if operation.right and (operation.rule == "hidden" or listed(operation)):
            answer = await ask(world, operation, things, caller.headers(operation))
            if verdict(answer) != "missing":
                wrong.append(f"{operation.id}: {answer.status_code} {answer.text[:150]}")
    assert wrong == []


@pytest.fixture
def statements(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Counts the statements that the application sends to PostgreSQL, by every driver."""
    found: Counter[str] = Counter()
    engine = app.state.resources.database.engine.sync_engine

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement != LIFE_SIGN:
            found[statement] += 1

    for owner, name in ((Database, "fetch"), (Database, "fetchrow"), (CursorWrapper, "execute")):
        monkeypatch.setattr(owner, name, counting(getattr(owner, name), found))
    event.listen(engine, "before_cursor_execute", note)
    yield found
    event.remove(engine, "before_cursor_execute", note)


def counting(method: Any, found: Counter[str]) -> Any:
    """The method, which also counts its statements."""

    def call(self: object, statement: str, *values: Any, **more: Any) -> Any:
        if statement != LIFE_SIGN:
            found[statement] += 1
        return method(self, statement, *values, **more)

    return call


@pytest.mark.parametrize("kind", ["stranger", "removed member"])
async def test_a_strangers_answer_is_that_of_nothing(
    document: dict[str, Any],
    world: World,
    team: Team,
    statements: Counter[str],
    kind: str,
) -> None:
    """The same body and headers, after the same statements, and nothing has changed."""
    stranger = (await make_caller(world, team, kind)).person
    values = team.things | {"target": stranger.id}
    kept = {"name", "target"}
    nothing = {name: value if name in kept else NOWHERE for name, value in values.items()}
    nothing |= {"session_id": uuid.uuid4()}  # other ids are judged without a look
    before = contents(world, team)
    await world.client.get("/api/users/me", headers=stranger.headers)  # the token is remembered
    wrong = []
    for operation in secured(document):
        if operation.rule != "hidden" and not listed(operation) and not moves(operation):
            continue
        answers, counts = [], []
        for ids in (values, nothing):
            # Neither is remembered: what the cache holds was asked for by those who may.
            await world.app.state.resources.redis.flushdb()
            statements.clear()
            answers.append(await ask(world, operation, ids, stranger.headers))
            counts.append(dict(statements))
        if verdict(answers[0]) != "missing" or said(answers[0]) != said(answers[1]):
            wrong.append(f"{operation.id}: {answers[0].text[:150]} {answers[1].text[:150]}")
        elif counts[0] != counts[1]:
            wrong.append(f"{operation.id}: {counts[0]} {counts[1]}")
    assert wrong == []
    assert contents(world, team) == before


def contents(world: World, team: Team) -> list[Any]:
    """The rows of a team's things."""
    query = "SELECT {0}::text FROM {0} WHERE owner_id = %s ORDER BY id"
    with psycopg.connect(world.database_url) as connection:
        return [connection.execute(query.format(table), [team.id]).fetchall() for table in TABLES]
