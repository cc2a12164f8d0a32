"""The setting `books_by`: who may change the catalogue when that is left to administrators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from atelier.auth import GRANTABLE, Right, Role
from tests.api.operations import secured
from tests.api.people import Person, is_problem, sign_up, things_of
from tests.api.teams import MEMBER, SPACE, World
from tests.api.test_rights import SAME_ORIGIN, bearer, cookie_of, make_key

if TYPE_CHECKING:
    import httpx2
    from fastapi import FastAPI

    from atelier.settings import Settings

RANK = "UPDATE users SET administrator = %s WHERE id = %s"
REFUSAL = "On this instance only administrators have the right to `books:write`."
NO_RIGHT = "This key has no right to `books:write`."
# What somebody is, and the sentence with which they are refused; None: they may.
CALLERS = {
    "an administrator": None,
    "the cookie of an administrator": None,
    "a key of an administrator": None,
    "a key of an administrator for a team": None,
    "a key of an administrator without the right": NO_RIGHT,
    "a user": REFUSAL,
    "the cookie of a user": REFUSAL,
    "the owner of a team": REFUSAL,
    "a former administrator": REFUSAL,
    "a key of a former administrator": REFUSAL,
    "a key of a former administrator without the right": NO_RIGHT,
}


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    """Those of the other modules, with the books left to administrators."""
    return settings.model_copy(
        update={"books_by": "administrators", "sign_ins_per_minute": 100_000}
    )


@pytest.fixture
def world(app: FastAPI, client: httpx2.AsyncClient, database_url: str) -> World:
    """The application of this module."""
    return World(app, client, database_url)


async def administrator(world: World) -> Person:
    """Somebody new who is one."""
    person = await sign_up(world.client)
    world.execute(RANK, True, person.id)
    return person


async def headers_of(world: World, kind: str) -> dict[str, str]:
    """The credentials of somebody new of this kind."""
    ranked = "administrator" in kind
    person = await (administrator(world) if ranked else sign_up(world.client))
    headers = person.headers
    space_id = person.id
    if "team" in kind:
        space_id = world.execute(SPACE)
        world.execute(MEMBER, space_id, person.id, Role.OWNER)
    if "cookie" in kind:
        headers = {"Cookie": await cookie_of(world.client, person)} | SAME_ORIGIN
    if "key" in kind:
        rights = GRANTABLE - {Right.BOOKS_WRITE} if "without" in kind else GRANTABLE
        body = {"name": "k", "rights": sorted(rights), "space_id": space_id}
        made = await world.client.post("/api/keys", json=body, headers=person.headers)
        assert made.status_code == 201, made.text
        headers = bearer(made.json())
    if "former" in kind:
        world.execute(RANK, False, person.id)
    return headers


@pytest.mark.parametrize("remembered", [False, True])
@pytest.mark.parametrize("kind", CALLERS)
async def test_books_are_changed_by_administrators_alone(
    document: dict[str, Any], world: World, kind: str, *, remembered: bool
) -> None:
    """Every operation that changes books is refused with a sentence to everybody else.

    Everybody reads them, by the shortcut of remembered credentials too.
    """
    things = await things_of(world.client, await administrator(world))
    headers = await headers_of(world, kind)
    if remembered:
        assert (await world.client.get("/api/books", headers=headers)).status_code == 200
    found = [each for each in secured(document) if (each.right or "").startswith("books:")]
    assert {each.right for each in found} == {Right.BOOKS_READ, Right.BOOKS_WRITE}
    for operation in sorted(found, key=lambda each: each.method == "delete"):
        answer = await operation.send(world.client, things, headers)
        refused = CALLERS[kind] if operation.right == Right.BOOKS_WRITE else None
        if refused is None:
            assert answer.status_code < 300, (operation, answer.text)
        else:
            assert is_problem(answer, 403), (operation, answer.text)
            assert answer.json()["type"] == "/problems/not-allowed"
            assert answer.json()["detail"] == refused


async def test_a_refusal_says_nothing_about_what_is_there(world: World) -> None:
    """An unknown book is refused like a known one, before it is looked for."""
    user = await sign_up(world.client)
    answer = await world.client.delete(f"/api/books/{2**62}", headers=user.headers)
    assert is_problem(answer, 403)


async def test_all_the_rest_is_everybodys(document: dict[str, Any], world: World) -> None:
    """A user who is no administrator does everything else with what is theirs."""
    person = await administrator(world)
    things = await things_of(world.client, person)
    world.execute(RANK, False, person.id)
    for operation in secured(document):
        if operation.right and operation.method != "delete" and "books" not in operation.id:
            answer = await operation.send(world.client, things, person.headers)
            assert answer.status_code != 403, (operation, answer.text)


async def test_who_may_not_change_books_makes_no_key_that_may(world: World) -> None:
    """The key of a user has no right that they lack; an administrator's may have it."""
    user, chief = await sign_up(world.client), await administrator(world)
    body = {"name": "k", "rights": [Right.BOOKS_READ, Right.BOOKS_WRITE]}
    answer = await world.client.post("/api/keys", json=body, headers=user.headers)
    assert is_problem(answer, 403)
    assert answer.json()["detail"] == REFUSAL
    await make_key(world.client, user, Right.BOOKS_READ)
    await make_key(world.client, chief, Right.BOOKS_WRITE)
