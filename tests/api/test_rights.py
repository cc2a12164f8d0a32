"""Every operation with every kind of credential: keys with and without its right, and cookies.

The operations and their rights are those of the OpenAPI document, so that none can be forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from atelier.auth import GRANTABLE, RIGHTS
from tests.api.operations import SIGNING_OUT, secured
from tests.api.people import PASSWORD, Person, sign_up, things_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2

# A key may ask whose it is, and where it is good.
FOR_EVERY_KEY = {
    *("accounts.me", "spaces.index", "spaces.read", "events.index"),
    *("trash.index", "trash.restore", "trash.purge", "trash.empty"),  # by kinds: test_trash.py
}
FORBIDDEN = {"accounts.delete"}  # as for every person: things are Ada's
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture(scope="module")
async def eve(client: httpx2.AsyncClient) -> Person:
    """An owner of things whose keys and cookies are tried."""
    return await sign_up(client)


async def make_key(client: httpx2.AsyncClient, person: Person, *rights: str) -> dict[str, Any]:
    """A key of a person with these rights."""
    body = {"name": "a key", "rights": rights}
    answer = await client.post("/api/keys", json=body, headers=person.headers)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def cookie_of(client: httpx2.AsyncClient, person: Person) -> str:
    """The cookie of a new session of a browser."""
    body = {"email": person.email, "password": PASSWORD}
    answer = await client.post("/api/session", json=body, headers=SAME_ORIGIN)
    assert answer.status_code == 200, answer.text
    client.cookies.clear()
    return answer.headers["set-cookie"].partition(";")[0]


def slug(answer: httpx2.Response) -> str:
    """The kind of a problem; of other answers their status."""
    if answer.headers.get("content-type") != "application/problem+json":
        return str(answer.status_code)
    return str(answer.json()["type"].rpartition("/")[2])


def test_rights_are_named_by_operations(document: dict[str, Any]) -> None:
    """Each right that a key can have opens something, and each operation names a known one."""
    named = {operation.right for operation in secured(document)} - {None}
    assert named == {str(right) for right in GRANTABLE}
    assert {str(right) for right in RIGHTS} >= named


async def test_a_key_without_the_right_is_refused_everywhere(
    document: dict[str, Any], client: httpx2.AsyncClient, eve: Person
) -> None:
    """403, although it has every other right, and nothing has changed."""
    things = await things_of(client, eve)
    before = await owned(client, eve)
    wrong = []
    for right in sorted(GRANTABLE):
        key = await make_key(client, eve, *(GRANTABLE - {right}))
        headers = {"Authorization": f"Bearer {key['key']}"}
        for operation in secured(document):
            if operation.right == right:
                answer = await operation.send(client, things, headers)
                if slug(answer) != "not-allowed" or right not in answer.json()["detail"]:
                    wrong.append((operation.id, answer.text))
    assert wrong == []
    assert await owned(client, eve) == before


async def test_no_key_manages_accounts_keys_or_sessions(
    document: dict[str, Any], client: httpx2.AsyncClient, eve: Person
) -> None:
    """Not even one with every right that there is."""
    things = await things_of(client, eve)
    key = await make_key(client, eve, *GRANTABLE)
    headers = {"Authorization": f"Bearer {key['key']}"}
    for operation in secured(document):
        if operation.right is None and operation.id not in FOR_EVERY_KEY:
            answer = await operation.send(client, things, headers)
            assert slug(answer) == "not-allowed", (operation, answer.text)
    assert (await client.get("/api/users/me", headers=headers)).json()["id"] == eve.id


async def test_a_key_with_the_right_does_what_its_maker_does(
    document: dict[str, Any], client: httpx2.AsyncClient, eve: Person
) -> None:
    """With that right alone."""
    last = {"delete": 1}
    things = await things_of(client, eve)
    ordered = sorted(secured(document), key=lambda one: last.get(one.method, 0))
    keys = {right: (await make_key(client, eve, right))["key"] for right in sorted(GRANTABLE)}
    for operation in ordered:
        if operation.right is not None and operation.path.startswith("/api/"):
            headers = {"Authorization": f"Bearer {keys[operation.right]}"}
            answer = await operation.send(client, things, headers)
            assert answer.status_code not in {401, 403}, (operation, answer.text)


async def test_a_revoked_key_is_refused_everywhere(
    document: dict[str, Any], client: httpx2.AsyncClient, eve: Person
) -> None:
    """At once in the process that revoked it, whether it was remembered or not."""
    things = await things_of(client, eve)
    key = await make_key(client, eve, *GRANTABLE)
    headers = {"Authorization": f"Bearer {key['key']}"}
    assert (await client.get("/api/images", headers=headers)).status_code == 200
    gone = await client.delete(f"/api/keys/{key['id']}", headers=eve.headers)
    assert gone.status_code == 204
    await all_refused(document, client, things, headers)


async def test_a_key_ends_with_its_time_and_its_account(
    client: httpx2.AsyncClient, database_url: str
) -> None:
    """It is dead once it has expired, while its maker is disabled, and when they have left."""
    joe = await sign_up(client)
    keys = [await make_key(client, joe, "images:read") for _ in range(3)]
    sql = {
        0: "UPDATE api_keys SET expires_at = now() WHERE id = %s",
        1: "UPDATE users SET disabled_at = now() WHERE id = (SELECT created_by FROM api_keys"
        " WHERE id = %s)",
    }
    for number, statement in sql.items():
        with psycopg.connect(database_url) as connection:
            connection.execute(statement, [keys[number]["id"]])
        answer = await client.get("/api/images", headers=bearer(keys[number]))
        assert answer.status_code == 401
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE users SET disabled_at = NULL WHERE id = %s", [joe.id])
    assert (await client.get("/api/images", headers=bearer(keys[2]))).status_code == 200
    left = await client.delete(f"/api/users/{joe.id}", headers=joe.headers)
    assert left.status_code == 204
    assert (await client.get("/api/images", headers=bearer(keys[2]))).status_code == 401


def bearer(key: dict[str, Any]) -> dict[str, str]:
    """Headers with a key."""
    return {"Authorization": f"Bearer {key['key']}"}


async def test_a_key_is_shown_once_and_repeated_under_its_idempotency_key(
    client: httpx2.AsyncClient, database_url: str, eve: Person
) -> None:
    """Lists hold no key, the database neither; a repeat of the request gets the same one."""
    headers = eve.headers | {"Idempotency-Key": "my-scanner"}
    body = {"name": "scanner", "rights": ["images:write"]}
    first, again = [await client.post("/api/keys", json=body, headers=headers) for _ in range(2)]
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert first.headers["cache-control"] == "no-store"
    key = first.json()["key"]
    assert key.startswith("atk_")
    assert (await client.get(first.headers["location"], headers=eve.headers)).json() == {
        name: value for name, value in first.json().items() if name != "key"
    }
    with psycopg.connect(database_url) as connection:
        kept = connection.execute(
            "SELECT convert_from(body, 'UTF8') FROM idempotency_keys WHERE"
            " status = 201 AND body IS NOT NULL"
        ).fetchall()
        rows = connection.execute("SELECT api_keys::text FROM api_keys").fetchall()
    assert not any(key in row[0] for row in kept + rows)


RIGHTS_ALONE = {"name": "n", "rights": ["images:read"]}
BAD_KEYS: dict[str, dict[str, Any]] = {
    "no name": {"rights": ["images:read"]},
    "an empty name": {"name": " ", "rights": ["images:read"]},
    "a long name": {"name": "n" * 101, "rights": ["images:read"]},
    "no rights": {"name": "n", "rights": []},
    "an unknown right": {"name": "n", "rights": ["images:paint"]},
    "a right that no key has": {"name": "n", "rights": ["manage"]},
    "rights that are no list": {"name": "n", "rights": "images:read"},
    "a right that is no text": {"name": "n", "rights": [["images:read"]]},
    "an end in the past": RIGHTS_ALONE | {"expires_at": "2020-01-01T00:00:00Z"},
    "an end without a zone": RIGHTS_ALONE | {"expires_at": "2999-01-01T00:00:00"},
    "an end that is a number": RIGHTS_ALONE | {"expires_at": 4102444800},
    "no end at all": RIGHTS_ALONE | {"expires_at": "soon"},
    "a space that is no number": RIGHTS_ALONE | {"space_id": "1"},
}  # fmt: skip


@pytest.mark.parametrize("body", BAD_KEYS.values(), ids=BAD_KEYS)
async def test_what_is_no_key_is_refused(
    client: httpx2.AsyncClient, eve: Person, body: dict[str, Any]
) -> None:
    """422 that names the field."""
    answer = await client.post("/api/keys", json=body, headers=eve.headers)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["loc"][0] == "body"


async def test_a_key_of_a_strangers_space_cannot_be_made(
    client: httpx2.AsyncClient, eve: Person, ada: Person
) -> None:
    """As if that space did not exist."""
    body = {"name": "n", "rights": ["images:read"], "space_id": ada.id}
    answers = [
        await client.post("/api/keys", json=body | {"space_id": space}, headers=eve.headers)
        for space in (ada.id, 2**40)
    ]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].json() == answers[1].json()


@pytest.mark.parametrize("site", [{}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}])
async def test_another_site_changes_nothing_by_a_cookie(
    document: dict[str, Any], client: httpx2.AsyncClient, eve: Person, site: dict[str, str]
) -> None:
    """403 for every operation that changes something, by POST or by the old GET that takes."""
    things = await things_of(client, eve)
    headers = {"Cookie": await cookie_of(client, eve)} | site
    before = await owned(client, eve)
    for operation in secured(document):
        if operation.method != "get" or operation.right == "tasks:work":
            answer = await operation.send(client, things, headers)
            assert slug(answer) == "cross-site", (operation, answer.text)
    assert await owned(client, eve) == before


async def test_a_page_of_ours_does_everything_by_a_cookie(
    document: dict[str, Any], client: httpx2.AsyncClient
) -> None:
    """Each operation as with a token; to delete the account the password is needed."""
    joe = await sign_up(client)
    things = await things_of(client, joe)
    headers = {"Cookie": await cookie_of(client, joe)} | SAME_ORIGIN
    last: dict[str, Callable[[Any], int]] = {
        "order": lambda one: (one.method == "delete") + 2 * (one.id.startswith("accounts."))
    }
    ends = SIGNING_OUT | {"accounts.delete"}
    for operation in sorted(secured(document), key=last["order"]):
        if operation.id in ends or not operation.path.startswith("/api/"):
            continue
        answer = await operation.send(client, things, headers)
        assert slug(answer) not in {"cross-site", "unauthenticated", "not-allowed"}, operation
    path = f"/api/users/{joe.id}"
    bare = await client.delete(path, headers=headers)
    assert bare.json()["errors"][0]["loc"] == ["body", "password"]
    out = await client.delete("/api/session", headers=headers)
    assert (out.status_code, out.headers["set-cookie"].split(";")[0]) == (204, 'atelier=""')
    assert (await client.get("/api/users/me", headers=headers)).status_code == 401


async def test_a_cookie_is_for_the_browser_alone(client: httpx2.AsyncClient, eve: Person) -> None:
    """No script reads it, no other site's page sends it, and no cache keeps the answer."""
    body = {"email": eve.email, "password": PASSWORD}
    answer = await client.post("/api/session", json=body)
    client.cookies.clear()
    name, *attributes = answer.headers["set-cookie"].split("; ")
    assert name.startswith("atelier=")
    assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(attributes)
    assert "Secure" not in attributes
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["email"] == eve.email
    for wrong in ({"password": "another horse"}, {"email": "nobody@example.org"}):
        refused = await client.post("/api/session", json=body | wrong)
        assert (refused.status_code, "set-cookie" in refused.headers) == (401, False)
    foreign = {"Sec-Fetch-Site": "cross-site"}
    assert (await client.post("/api/session", json=body, headers=foreign)).status_code == 403


async def test_a_disabled_user_is_refused_everywhere(
    document: dict[str, Any], client: httpx2.AsyncClient, database_url: str
) -> None:
    """By token, key and cookie alike, none of which was remembered."""
    joe = await sign_up(client)
    things = await things_of(client, joe)
    key = await make_key(client, joe, *GRANTABLE)
    form = {"username": joe.email, "password": PASSWORD}
    token = (await client.post("/api/auth/token", data=form)).json()["access_token"]
    cookie = await cookie_of(client, joe)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE users SET disabled_at = now() WHERE id = %s", [joe.id])
    for headers in (
        {"Authorization": f"Bearer {token}"},
        bearer(key),
        {"Cookie": cookie} | SAME_ORIGIN,
    ):
        await all_refused(document, client, things, headers)


async def all_refused(
    document: dict[str, Any],
    client: httpx2.AsyncClient,
    things: dict[str, object],
    headers: dict[str, str],
) -> None:
    """Check that no operation takes these credentials."""
    for operation in secured(document):
        answer = await operation.send(client, things, headers)
        assert slug(answer) == "unauthenticated", (operation, answer.text)


async def owned(client: httpx2.AsyncClient, person: Person) -> list[Any]:
    """What a person has, without when it was last used."""
    paths = ("/api/images", "/api/tasks", "/api/files", "/api/books", "/api/users/me")
    return [(await client.get(path, headers=person.headers)).json() for path in paths]
