"""Events say who did it and where, whichever operation of the API was the cause."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from atelier.auth import GRANTABLE
from tests.api.operations import PHOTO, secured
from tests.api.people import sign_up, things_of
from tests.api.test_rights import bearer, make_key

if TYPE_CHECKING:
    import httpx2

PICTURE = {"image": ("a.jpg", PHOTO)}
CHANGED = {
    *("task.completed", "task.released", "task.skipped", "task.answered"),
    *("image.updated", "book.updated", "queue.updated"),
}
MADE = {
    *("image.created", "file.uploaded", "book.created"),
    *("task.created", "task.taken", "queue.created"),
}
GONE = {"image.deleted", "task.deleted", "queue.deleted", "file.deleted"}
SPACELESS = {"books", "users"}


def told(database_url: str, after: int) -> list[tuple[str, str, str | None, int | None]]:
    """Type, kind of subject, actor and space of the events after an id."""
    query = """
        SELECT type, split_part(subject, '/', 1), actor, space_id FROM outbox WHERE id > %s
        ORDER BY id
    """
    with psycopg.connect(database_url) as connection:
        return connection.execute(query, [after]).fetchall()


def last(database_url: str) -> int:
    """The id of the newest event."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT coalesce(max(id), 0) FROM outbox").fetchone()
    assert row
    return int(row[0])


@pytest.mark.parametrize("by", ["a person", "a key"])
async def test_every_operation_names_its_actor_and_space(
    document: dict[str, Any], client: httpx2.AsyncClient, database_url: str, by: str
) -> None:
    """A walk over all operations leaves events of this actor in this space alone."""
    joe = await sign_up(client)
    things = await things_of(client, joe)
    key = await make_key(client, joe, *GRANTABLE)
    by_key = by == "a key"
    before = last(database_url)
    for operation in sorted(secured(document), key=lambda one: one.method == "delete"):
        if operation.right is not None:
            headers = bearer(key) if by_key else joe.headers
            answer = await operation.send(client, things, headers)
            assert answer.status_code < 500, (operation, answer.text)
    for _ in range(2):
        await client.post("/api/tasks", files=PICTURE, data={"meta": "m"}, headers=headers)
    for end, more in (("release", {}), ("skip", {"for_seconds": 3600}), ("complete", {})):
        lease = {"lease_seconds": 3600}
        taken = (await client.post("/api/tasks/take", json=lease, headers=headers)).json()
        path, body = f"/api/tasks/{taken['id']}/{end}", {"token": taken["lease"]["token"]}
        assert (await client.post(path, json=body | more, headers=headers)).is_success
    path = f"/api/tasks/{taken['id']}/answer"
    assert (await client.patch(path, json={"result": 1}, headers=headers)).is_success
    events = told(database_url, before)
    assert {type_ for type_, *_ in events} == MADE | CHANGED | GONE | {"book.deleted"}
    actor = f"keys/{key['id']}" if by_key else f"users/{joe.id}"
    for type_, kind, who, where in events:
        assert (who, where) == (actor, None if kind in SPACELESS else joe.id), type_


async def test_who_comes_and_goes_is_named(client: httpx2.AsyncClient, database_url: str) -> None:
    """An account is made and deleted by its own user, and all that it has with it."""
    before = last(database_url)
    joe = await sign_up(client)
    await things_of(client, joe)
    middle = last(database_url)
    assert ("user.created", "users", f"users/{joe.id}", None) in told(database_url, before)
    gone = await client.delete(f"/api/users/{joe.id}", headers=joe.headers)
    assert gone.status_code == 204
    events = told(database_url, middle)
    assert {type_ for type_, *_ in events} == GONE | {"user.deleted", "space.deleted"}
    for type_, kind, who, where in events:
        assert who == f"users/{joe.id}"
        if type_ != "space.deleted":  # of the team that they were alone in
            assert where == (None if kind in SPACELESS else joe.id)
