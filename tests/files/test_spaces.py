"""Files of a team: what each role may do, what strangers see, and files that move."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import httpx2
import psycopg
import pytest
from psycopg.rows import tuple_row

from atelier import bootstrap
from atelier.files import django_setup
from tests.files.conftest import Person, account
from tests.files.test_standalone import served
from tests.problems import is_problem
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from atelier.settings import Settings

ROLES = ("viewer", "worker", "editor", "owner")
NOWHERE = 2**40
ROLE = """
    INSERT INTO members (space_id, user_id, role, created_at) VALUES (%s, %s, %s, now())
    ON CONFLICT (space_id, user_id) DO UPDATE SET role = excluded.role
"""
# Each operation by id, and the first role that may use it.
BY_ID = {
    "detail": ("GET", "/", "viewer"),
    "content": ("GET", "/content", "viewer"),
    "thumbnail": ("GET", "/thumbnail", "viewer"),
    "retry": ("POST", "/retry", "editor"),
    "delete": ("DELETE", "/", "editor"),
}
UPLOAD: dict[str, Any] = {"files": {"file": ("a.txt", b"hello")}}
# As are those on a space.
IN_SPACE: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "list": ("GET", "/api/files/", {}, "viewer"),
    "old list": ("GET", "/files", {}, "viewer"),
    "upload": ("POST", "/api/upload", UPLOAD, "editor"),
    "old upload": ("POST", "/upload/", UPLOAD, "editor"),
}


class Team:
    """A space with members, made by hand."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        made = "INSERT INTO spaces (name, created_at) VALUES ('team', now()) RETURNING id"
        ((self.id,),) = self.sql(made)
        self.query = {"space": self.id}

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of a statement, which is committed."""
        url = bootstrap.database_url(self.settings)
        with psycopg.connect(url, row_factory=tuple_row) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def add(self, person: Person, role: str | None, app: httpx2.ASGITransport) -> None:
        """Give somebody a role, or, with None, remove them; the API has heard of it."""
        if role is None:
            self.sql(
                "DELETE FROM members WHERE (space_id, user_id) = (%s, %s)", self.id, person.id
            )
        else:
            self.sql(ROLE, self.id, person.id, role)
        app.app.state.resources.authenticator.clear()  # type: ignore[attr-defined]


@pytest.fixture
def team(settings: Settings, ada: Person, app: httpx2.ASGITransport) -> Team:
    """A space that Ada owns."""
    made = Team(settings)
    made.add(ada, "owner", app)
    return made


@pytest.mark.parametrize("name", BY_ID)
async def test_roles_by_id(
    ada: Person, bob: Person, team: Team, app: httpx2.ASGITransport, name: str
) -> None:
    """Members without the right are told so; others are served; the removed see nothing."""
    method, end, first = BY_ID[name]
    record = await ada.upload(b"hello", params=team.query)
    url = record["url"].rstrip("/") + end
    for role in ROLES[: ROLES.index(first)]:
        team.add(bob, role, app)
        answer = await bob.client.request(method, url)
        assert is_problem(answer, 403, "not-allowed"), (role, answer.text)
    team.add(bob, None, app)
    nowhere = url.replace(str(record["id"]), str(NOWHERE))
    hidden, missing = [await bob.client.request(method, each) for each in (url, nowhere)]
    assert is_problem(hidden, 404, "not-found")
    assert hidden.content == missing.content
    assert (await ada.client.get(record["url"])).json()["id"] == record["id"]
    team.add(bob, first, app)
    allowed = await bob.client.request(method, url)
    assert allowed.status_code in {200, 204, 409} or "no thumbnail" in allowed.text, allowed.text


@pytest.mark.parametrize("name", IN_SPACE)
async def test_roles_in_a_space(
    ada: Person, bob: Person, team: Team, app: httpx2.ASGITransport, name: str
) -> None:
    """Lists and uploads ask for the right in the space that is named; strangers find none."""
    method, url, options, first = IN_SPACE[name]
    for role in ROLES[: ROLES.index(first)]:
        team.add(bob, role, app)
        answer = await bob.client.request(method, url, params=team.query, **options)
        assert is_problem(answer, 403, "not-allowed"), (role, answer.text)
    team.add(bob, None, app)
    hidden = [
        await bob.client.request(method, url, params={"space": space_id}, **options)
        for space_id in (team.id, ada.id, NOWHERE)
    ]
    assert is_problem(hidden[0], 404, "not-found")
    assert len({answer.content for answer in hidden}) == 1
    team.add(bob, first, app)
    allowed = await bob.client.request(method, url, params=team.query, **options)
    assert allowed.status_code in {200, 201}, allowed.text


async def test_no_body_is_read_for_a_space_of_others(ada: Person, bob: Person) -> None:
    """The right is judged ahead of the upload."""
    read: list[int] = []

    async def body() -> Any:
        for number in range(50):
            read.append(number)
            yield b"x" * 65536

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = await bob.client.post(f"/api/upload?space={ada.id}", content=body(), headers=headers)
    assert is_problem(answer, 404, "not-found")
    assert len(read) <= 1


@pytest.mark.parametrize("space", ["0", "-1", "x", "", "1.0", "9" * 20, "9" * 30])
async def test_what_is_no_space(ada: Person, space: str) -> None:
    """Uploads and lists refuse it in the words of the rest of the API."""
    query = {"space": space}
    told = [
        await ada.client.get("/api/files/", params=query),
        await ada.client.post("/api/upload", params=query, **UPLOAD),
        await ada.client.get("/api/tasks", params=query),
    ]
    assert is_problem(told[0], 422, "invalid")
    assert len({answer.content for answer in told}) == 1


async def test_each_sees_what_all_have(
    ada: Person, bob: Person, team: Team, app: httpx2.ASGITransport
) -> None:
    """A file says where it is and who uploaded it; one's own space has none of the team's."""
    team.add(bob, "editor", app)
    mine = await ada.upload(b"a", params=team.query)
    theirs = await bob.upload(b"b", params=team.query)
    own = await bob.upload(b"c")
    assert [(f["space_id"], f["created_by"]) for f in (mine, theirs, own)] == [
        (team.id, ada.id),
        (team.id, bob.id),
        (bob.id, bob.id),
    ]
    page = await ada.client.get("/api/files/", params=team.query | {"limit": 1})
    rest = await ada.client.get(page.links["next"]["url"])
    assert [f["id"] for f in page.json() + rest.json()] == [theirs["id"], mine["id"]]
    assert [f["id"] for f in (await bob.client.get("/api/files/")).json()] == [own["id"]]
    ((data,),) = team.sql("SELECT data FROM outbox WHERE subject = %s", f"files/{theirs['id']}")
    assert (data["space_id"], data["owner_id"], data["created_by"]) == (team.id, team.id, bob.id)


async def test_old_files_have_the_maker_that_only_one_can_be(ada: Person, team: Team) -> None:
    """Without one in its row: in a person's space that person, in a team's nobody known."""
    records = [await ada.upload(b"a"), await ada.upload(b"b", params=team.query)]
    ids = [record["id"] for record in records]
    team.sql("UPDATE files SET created_by = NULL WHERE id = any(%s)", ids)
    shown = [(await ada.client.get(record["url"])).json()["created_by"] for record in records]
    assert shown == [ada.id, None]
    assert (await ada.client.get("/api/files/")).json()[0]["created_by"] == ada.id
    await ada.client.delete(records[0]["url"])
    query = "SELECT data FROM outbox WHERE subject = %s AND type = 'file.deleted'"
    ((data,),) = team.sql(query, f"files/{ids[0]}")
    assert data["created_by"] == ada.id


async def test_a_key_is_of_one_space(
    ada: Person, bob: Person, team: Team, app: httpx2.ASGITransport
) -> None:
    """The same Idempotency-Key elsewhere is other content; the removed get no kept answer."""
    team.add(bob, "editor", app)
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    first = await bob.upload(b"a", params=team.query, headers=headers)
    assert await bob.upload(b"a", params=team.query, headers=headers) == first
    await bob.upload(b"a", headers=headers, expect=422)
    team.add(bob, None, app)
    await bob.upload(b"a", params=team.query, headers=headers, expect=404)


async def move(person: Person, ids: list[int], space_id: int) -> httpx2.Response:
    """Ask for a move."""
    return await person.client.post("/api/files/move", json={"ids": ids, "space_id": space_id})


async def test_files_move(ada: Person, team: Team) -> None:
    """Records and lists say so, makers stay, an event is told, and again nothing is moved."""
    records = [await ada.upload(content) for content in (b"a", b"b")]
    ids = [record["id"] for record in records]
    team.sql("UPDATE files SET created_by = NULL WHERE id = %s", ids[0])
    answer = await move(ada, [*ids, ids[0]], team.id)
    assert (answer.status_code, answer.json()) == (200, {"moved": 2})
    assert (await ada.client.get("/api/files/")).json() == []
    moved = (await ada.client.get("/api/files/", params=team.query)).json()
    assert [f["id"] for f in moved] == ids[::-1]
    assert {(f["space_id"], f["created_by"]) for f in moved} == {(team.id, ada.id)}
    assert (await ada.client.get(f"{records[0]['url']}content")).content == b"a"
    query = "SELECT type, sequence, data FROM outbox WHERE subject = %s ORDER BY sequence DESC"
    type_, sequence, data = team.sql(query, f"files/{ids[0]}")[0]
    assert (type_, sequence, data["space_id"], data["from_space_id"], data["created_by"]) == (
        "file.moved",
        sequence,
        team.id,
        ada.id,
        ada.id,
    )
    assert (await move(ada, ids, team.id)).json() == {"moved": 0}


@pytest.mark.parametrize("wrong", ["unknown", "a stranger's", "a viewer's"])
async def test_all_move_or_none(
    ada: Person, bob: Person, team: Team, app: httpx2.ASGITransport, wrong: str
) -> None:
    """One file that cannot be moved keeps all of them where they are."""
    mine = await ada.upload(b"a")
    other, status, slug = NOWHERE, 404, "not-found"
    if wrong == "a stranger's":
        other = (await bob.upload(b"b"))["id"]
    elif wrong == "a viewer's":
        theirs = Team(team.settings)
        theirs.add(bob, "owner", app)
        theirs.add(ada, "viewer", app)
        other = (await bob.upload(b"b", params=theirs.query))["id"]
        status, slug = 403, "not-allowed"
    assert is_problem(await move(ada, [mine["id"], other], team.id), status, slug)
    assert (await ada.client.get(mine["url"])).json()["space_id"] == ada.id


@pytest.mark.parametrize("role", [*ROLES, None])
async def test_the_right_is_needed_where_they_go(
    bob: Person, team: Team, app: httpx2.ASGITransport, role: str | None
) -> None:
    """Editors may put files into a space; others may not, and strangers see none."""
    record = await bob.upload(b"a")
    team.add(bob, role, app)
    answer = await move(bob, [record["id"]], team.id)
    expected = {None: 404, "viewer": 403, "worker": 403}.get(role, 200)
    assert answer.status_code == expected, answer.text


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"", "application/json", 422),
        (b'{"ids": [1], "space_id": 1}', "text/plain", 415),
        (b'{"ids": [], "space_id": 1}', "application/json", 422),
        (b'{"ids": [true], "space_id": 1}', "application/json", 422),
        (b'{"ids": ["1"], "space_id": 1}', "application/json", 422),
        (b'{"ids": [1]}', "application/json", 422),
        (b'{"ids": [1], "space_id": 1, "to": 2}', "application/json", 422),
        (b'"\\u0000"', "application/json", 422),
        (b" " * 300_000 + b"{}", "application/json", 413),
    ],
)
async def test_bad_moves_are_told_as_those_of_tasks(
    ada: Person, content: bytes, content_type: str, status: int
) -> None:
    """The same status and the same words at both edges."""
    headers = {"Content-Type": content_type}
    told = [
        await ada.client.post(f"/api/{kind}/move", content=content, headers=headers)
        for kind in ("files", "tasks")
    ]
    assert told[0].status_code == told[1].status_code == status, told[0].text
    assert told[0].json() == told[1].json()


async def test_an_account_that_leaves_takes_its_own_alone(
    ada: Person, bob: Person, team: Team, app: httpx2.ASGITransport
) -> None:
    """What its person uploaded for a team stays there."""
    team.add(bob, "editor", app)
    left = await bob.upload(b"a", params=team.query)
    own = await bob.upload(b"b")
    assert (await bob.client.delete(f"/api/users/{bob.id}")).status_code == 204
    assert (await ada.client.get(left["url"])).status_code == 200
    assert team.sql("SELECT 1 FROM files WHERE id = %s", own["id"]) == []


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
async def test_the_slice_alone_knows_spaces(settings: Settings, kind: str, tmp_path: Path) -> None:
    """Members, strangers and moves as with the API around it."""
    team = Team(settings)
    user_id, token = account(settings, f"{uuid.uuid4().hex}@example.org")
    team.sql(ROLE, team.id, user_id, "editor")

    def use(url: str) -> None:
        with httpx2.Client(base_url=url, timeout=PATIENCE_SECONDS) as client:
            client.headers["Authorization"] = f"Bearer {token}"
            made = client.post("/api/upload", params=team.query, **UPLOAD)
            assert made.status_code == 201, made.text
            record = made.json()
            assert (record["space_id"], record["created_by"]) == (team.id, user_id)
            assert client.get("/files", params={"space": NOWHERE}).status_code == 404
            refused = client.post("/api/upload", params={"space": NOWHERE}, **UPLOAD)
            assert refused.status_code == 404
            body = {"ids": [record["id"]], "space_id": user_id}
            assert client.post("/api/files/move/", json=body).json() == {"moved": 1}
            assert client.get("/files").json()[0]["space_id"] == user_id
            large = client.post("/api/files/move", json=body | {"x": "x" * 300_000})
            assert large.status_code == 413

    with served(settings, kind, tmp_path / "log") as url:
        await asyncio.to_thread(use, url)
    django_setup.configure(settings)
