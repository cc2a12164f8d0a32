"""Only owners read or change what is theirs: every operation with every bad token.

And with a valid token of somebody else.
"""

from __future__ import annotations

import base64
import time
import uuid
from typing import TYPE_CHECKING, Any

import jwt
import orjson
import pytest

from atelier.auth import AUDIENCE, ISSUER, Tokens, key_id
from tests.api.conftest import SECRET
from tests.api.operations import PHOTO, PUBLIC, RULES, every, secured
from tests.api.people import things_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2
    from fastapi import FastAPI

    from tests.api.people import Person

OTHER_SECRET = "o" * 64
NOWHERE = 2**40


def test_every_operation_has_a_rule(document: dict[str, Any]) -> None:
    """Each operation states who may use it, public ones included."""
    found = every(document)
    assert {operation.id for operation in found if operation.secured} == RULES.keys()
    assert {operation.id for operation in found if not operation.secured} == PUBLIC


def test_every_route_is_in_the_document(app: FastAPI) -> None:
    """Only the documentation itself is missing from the document."""
    unseen = {route.path for route in app.routes if not getattr(route, "include_in_schema", False)}
    pages = {"/docs", "/docs/start.js", "/docs/{name}", "/problems/{slug}"}
    assert unseen == {"/", "/api", "/openapi.json"} | pages


def claims(person: Person, **changed: object) -> dict[str, object]:
    """The claims of a person's token, changed."""
    found: dict[str, object] = jwt.decode(person.token, options={"verify_signature": False})
    return found | changed


def forge(
    said: dict[str, object], secret: str = SECRET, algorithm: str = "HS256", **header: object
) -> str:
    """A token of these claims; the header names our key, unless it is told otherwise."""
    return "Bearer " + jwt.encode(
        said, secret, algorithm, headers={"kid": key_id(SECRET)} | header
    )


def unsigned(person: Person, algorithm: str) -> str:
    """A token whose header says that it needs no signature."""
    header = orjson.dumps({"alg": algorithm, "typ": "JWT", "kid": key_id(SECRET)})
    head = base64.urlsafe_b64encode(header).rstrip(b"=").decode()
    return f"Bearer {head}.{person.token.split('.')[1]}."


def tampered(person: Person) -> str:
    """Another user's id under a signature that was made for this one's."""
    head, _, signature = person.token.split(".")
    body = (
        base64.urlsafe_b64encode(orjson.dumps(claims(person, sub=str(person.id + 1))))
        .rstrip(b"=")
        .decode()
    )
    return f"Bearer {head}.{body}.{signature}"


def misspelled(person: Person) -> str:
    """The signature with its first letter changed."""
    head, body, signature = person.token.split(".")
    return f"Bearer {head}.{body}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


BAD: dict[str, Callable[[Person], str | None]] = {
    "no header": lambda _: None,
    "empty": lambda _: "",
    "no token": lambda _: "Bearer",
    "rubbish": lambda _: "Bearer rubbish",
    "another scheme": lambda ada: f"Basic {ada.token}",
    "no scheme": lambda ada: ada.token,
    "two tokens": lambda ada: f"Bearer {ada.token}, Bearer {ada.token}",
    "very long": lambda _: "Bearer " + "a" * 20_000,
    "expired": lambda ada: forge(claims(ada, exp=int(time.time()) - 1)),
    "tampered claims": tampered,
    "misspelled signature": misspelled,
    "no signature": lambda ada: "Bearer " + ada.token.rpartition(".")[0] + ".",
    "alg none": lambda ada: unsigned(ada, "none"),
    "alg None": lambda ada: unsigned(ada, "NoNe"),
    "another key": lambda ada: forge(claims(ada), OTHER_SECRET),
    "another key under its own name": lambda ada: forge(
        claims(ada), OTHER_SECRET, kid=key_id(OTHER_SECRET)
    ),
    "a key named by a path": lambda ada: forge(claims(ada), OTHER_SECRET, kid="/dev/null"),
    "no key named": lambda ada: forge(claims(ada), OTHER_SECRET, kid=""),
    "another algorithm": lambda ada: forge(claims(ada), SECRET, "HS512"),
    "another issuer": lambda ada: forge(claims(ada, iss="somebody")),
    "another audience": lambda ada: forge(claims(ada, aud="somewhere")),
    "another type": lambda ada: forge(claims(ada, typ="refresh")),
    "another session": lambda ada: forge(claims(ada, sid=str(uuid.uuid4()))),
    "a session of somebody else": lambda ada: forge(claims(ada, sub=str(ada.id + 1))),
    "no such user": lambda ada: forge(claims(ada, sub=str(NOWHERE))),
    "the refresh token": lambda ada: f"Bearer {ada.pair['refresh_token']}",
}


async def refusals(
    document: dict[str, Any],
    client: httpx2.AsyncClient,
    values: dict[str, object],
    authorization: str | None,
) -> list[str]:
    """The operations that do not answer this `Authorization` with a 401 as it must be."""
    headers = {} if authorization is None else {"Authorization": authorization}
    wrong = []
    for operation in secured(document):
        answer = await operation.send(client, values, headers)
        told = answer.headers.get("www-authenticate") == 'Bearer realm="atelier"'
        problem = answer.headers.get("content-type") == "application/problem+json"
        if not (
            answer.status_code == 401
            and told
            and problem
            and answer.json()["type"] == "/problems/unauthenticated"
        ):
            wrong.append(
                f"{operation.method} {operation.path}: {answer.status_code} {answer.text[:200]}"
            )
    return wrong


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_token_is_refused_everywhere(
    document: dict[str, Any],
    client: httpx2.AsyncClient,
    ada: Person,
    things: dict[str, object],
    kind: str,
) -> None:
    """401 with WWW-Authenticate, whatever is wrong with the token, and nothing has changed."""
    before = await state(client, ada, things)
    assert await refusals(document, client, things, BAD[kind](ada)) == []
    assert await state(client, ada, things) == before


async def test_a_token_made_by_these_tests_would_pass(
    client: httpx2.AsyncClient, ada: Person
) -> None:
    """The forged tokens are refused for what is wrong with them, not for how they were made."""
    answer = await client.get("/api/users/me", headers={"Authorization": forge(claims(ada))})
    assert answer.status_code == 200


@pytest.mark.parametrize("known", [True, False], ids=["remembered", "never seen"])
async def test_a_token_is_dead_after_logout(
    document: dict[str, Any],
    client: httpx2.AsyncClient,
    bob: Person,
    things: dict[str, object],
    *,
    known: bool,
) -> None:
    """Parameters: the process has verified the token before, or meets it for the first time."""
    if known:
        assert (await client.get("/api/users/me", headers=bob.headers)).status_code == 200
    other = {"Authorization": forge(claims(bob, jti="another"))}
    assert (await client.post("/api/auth/logout", headers=other)).status_code == 204
    assert await refusals(document, client, things, f"Bearer {bob.token}") == []


@pytest.mark.parametrize("known", [True, False], ids=["remembered", "never seen"])
async def test_the_tokens_of_a_deleted_user_are_dead(
    document: dict[str, Any],
    client: httpx2.AsyncClient,
    bob: Person,
    things: dict[str, object],
    *,
    known: bool,
) -> None:
    """All of them at once."""
    if known:
        assert (await client.get("/api/users/me", headers=bob.headers)).status_code == 200
    other = {"Authorization": forge(claims(bob, jti="another"))}
    assert (await client.delete(f"/api/users/{bob.id}", headers=other)).status_code == 204
    assert await refusals(document, client, things, f"Bearer {bob.token}") == []


async def test_another_users_things_do_not_exist(
    document: dict[str, Any],
    client: httpx2.AsyncClient,
    ada: Person,
    bob: Person,
    things: dict[str, object],
) -> None:
    """Every operation that names another's object answers 404, just as if it had never existed."""
    before = await state(client, ada, things)
    nothing = {name: value if name == "name" else NOWHERE for name, value in things.items()}
    wrong = []
    for operation in secured(document):
        if operation.rule == "hidden":
            theirs = await operation.send(client, things, bob.headers)
            nobodys = await operation.send(client, nothing, bob.headers)
            if theirs.status_code != 404 or said(theirs) != said(nobodys):
                wrong.append(
                    f"{operation.method} {operation.path}: {theirs.status_code} "
                    f"{theirs.text[:200]}"
                )
    assert wrong == []
    assert await state(client, ada, things) == before


async def test_an_owner_finds_all_of_them(
    document: dict[str, Any], client: httpx2.AsyncClient, bob: Person
) -> None:
    """The same requests by the owner are no 404, unless the part does not exist yet."""
    not_yet = {"images.picture", "files.thumbnail"}
    things = await things_of(client, bob)
    last = {"delete": 1}  # what deletes comes after what reads, a whole after its parts
    for operation in sorted(
        secured(document), key=lambda one: (last.get(one.method, 0), -one.path.count("/"))
    ):
        if (
            operation.rule == "hidden"
            and operation.id not in not_yet
            and operation.path.startswith("/api/")
        ):
            answer = await operation.send(client, things, bob.headers)
            assert answer.status_code != 404, (operation, answer.text)


async def test_one_cannot_delete_other_accounts(
    document: dict[str, Any],
    client: httpx2.AsyncClient,
    ada: Person,
    bob: Person,
    things: dict[str, object],
) -> None:
    """Forbidden deletions are 403, and the account is still there."""
    for operation in secured(document):
        if operation.rule == "forbidden":
            assert (await operation.send(client, things, bob.headers)).status_code == 403
    assert (await client.get("/api/users/me", headers=ada.headers)).json()["id"] == ada.id


@pytest.mark.usefixtures("things")
async def test_lists_and_hand_outs_show_the_callers_own_alone(
    document: dict[str, Any], client: httpx2.AsyncClient, bob: Person
) -> None:
    """A new user has nothing but a space of their own, whatever others have.

    What they take is not another's.
    """
    for operation in secured(document):
        if operation.rule == "own" and operation.id.endswith(".index"):
            found = (await operation.send(client, {}, bob.headers)).json()
            if operation.id == "spaces.index":
                found = [space for space in found if space["id"] != bob.id]
            if operation.id == "events.index":
                found = found["events"]  # a page without `after` has none
            assert found == [], operation
        if operation.id.startswith("tasks.take"):
            answer = await operation.send(client, {}, bob.headers)
            assert answer.json()["type"] == "/problems/no-free-task", operation


async def test_keys_of_idempotency_are_each_users_own(
    client: httpx2.AsyncClient, ada: Person, bob: Person
) -> None:
    """The same key of another user replays nothing of the first one's."""
    key = {"Idempotency-Key": "shared"}
    mine = await client.post(
        "/api/images", files={"file": ("a.jpg", PHOTO)}, headers=ada.headers | key
    )
    theirs = await client.post(
        "/api/images", files={"file": ("a.jpg", PHOTO)}, headers=bob.headers | key
    )
    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert mine.json()["id"] != theirs.json()["id"]


async def test_cursors_lead_to_the_callers_own_alone(
    client: httpx2.AsyncClient, ada: Person, bob: Person
) -> None:
    """A cursor of another user is a place in one's own list, not a way into theirs."""
    for _ in range(2):
        await client.post("/api/images", files={"file": ("a.jpg", PHOTO)}, headers=ada.headers)
    page = await client.get("/api/images?limit=1", headers=ada.headers)
    assert (await client.get(page.links["next"]["url"], headers=bob.headers)).json() == []


def said(answer: httpx2.Response) -> tuple[object, ...]:
    """Everything in an answer that is not about the one request."""
    headers = {
        name: value
        for name, value in answer.headers.items()
        if name not in {"x-request-id", "date"}
    }
    return answer.status_code, answer.content, headers


async def state(client: httpx2.AsyncClient, ada: Person, things: dict[str, object]) -> list[Any]:
    """All that Ada has."""
    assert things
    paths = (
        *("/api/images", "/api/tasks", "/api/files", "/api/books", "/api/users/me"),
        *("/api/spaces", "/api/invitations", f"/api/spaces/{things['space_id']}/members"),
    )
    return [(await client.get(path, headers=ada.headers)).json() for path in paths]


def test_tokens_here_are_signed_as_the_application_does() -> None:
    """The constants that forged tokens copy are those of the product."""
    token = Tokens(SECRET).issue(1, "session")
    said = jwt.decode(token, SECRET, ["HS256"], audience=AUDIENCE, issuer=ISSUER)
    assert said["typ"] == "access"
    assert jwt.get_unverified_header(token)["kid"] == key_id(SECRET)
