"""An unknown query parameter is an error: `?tags=` for `?tag=` would match everything."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.operations import RULES, every, secured

if TYPE_CHECKING:
    import httpx2

    from tests.api.people import Person

OF_LISTS = {
    "/api/images": (
        "there are `format`, `sort`, `space`, `status`, `tag`, `q`, `date`, `from`, `to`, "
        "`limit`, `cursor`"
    ),
    "/api/books": "there are `author`, `title`, `limit`, `cursor`",
    "/api/tasks": "there are `free`, `state`, `queue`, `q`, `space`, `limit`, `cursor`",
    "/api/files/": "there are `status`, `kind`, `q`, `space`, `limit`, `cursor`",
}


async def test_every_operation_refuses_what_it_does_not_know(
    document: dict[str, Any], client: httpx2.AsyncClient, ada: Person, things: dict[str, object]
) -> None:
    """422 names the parameter, and Ada still has all that she had.

    Monitors may ask with words of their own.
    """
    wrong = []
    for operation in every(document):
        if operation.id.startswith("health."):
            assert (await client.get(f"{operation.path}?x=1")).status_code == 200
            continue
        body = RULES[operation.id][1] if operation.secured else {}
        path = operation.path.format_map(things | {"user_id": ada.id})
        answer = await client.request(
            operation.method, f"{path}?tags=x&tags=y", headers=ada.headers, **body
        )
        if answer.status_code != 422 or [e["loc"] for e in answer.json()["errors"]] != [
            ["query", "tags"]
        ]:
            wrong.append(
                f"{operation.method} {operation.path}: {answer.status_code} {answer.text[:200]}"
            )
    assert wrong == []
    assert (
        await client.get("/api/images/{image_id}/info".format_map(things), headers=ada.headers)
    ).status_code == 200


async def test_who_asks_comes_first(
    document: dict[str, Any], client: httpx2.AsyncClient, things: dict[str, object]
) -> None:
    """Without a token the answer is 401, and says nothing of parameters."""
    for operation in secured(document):
        asked = replace(operation, path=f"{operation.path}?tags=x")
        assert (await asked.send(client, things, {})).status_code == 401, operation


@pytest.mark.parametrize(("path", "there"), OF_LISTS.items())
async def test_a_list_says_what_it_can_be_asked(
    client: httpx2.AsyncClient, ada: Person, path: str, there: str
) -> None:
    """An unknown parameter is answered with the known ones."""
    [error] = (await client.get(f"{path}?offset=5&limit=1", headers=ada.headers)).json()["errors"]
    assert error == {"loc": ["query", "offset"], "msg": f"There is no such parameter; {there}"}


async def test_old_clients_may_still_say_who_they_are(
    client: httpx2.AsyncClient, ada: Person, bob: Person
) -> None:
    """At the addresses of old `user_id` is no error, and decides nothing."""
    assert (await client.get(f"/tasks?user_id={bob.id}", headers=ada.headers)).status_code == 200
    assert (
        await client.delete(f"/user/{ada.id}?user_id={ada.id}", headers=bob.headers)
    ).status_code == 403
    assert (
        await client.get(f"/api/tasks?user_id={ada.id}", headers=ada.headers)
    ).status_code == 422
