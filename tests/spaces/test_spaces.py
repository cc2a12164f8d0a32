"""Spaces of teams: made, listed with what is in them, renamed, deleted with everything."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.problems import is_problem
from tests.spaces.conftest import PHOTO, announced

if TYPE_CHECKING:
    from atelier.http.resources import Resources
    from tests.spaces.conftest import Person


PUT_IN = (
    """INSERT INTO images (owner_id, created_by, title, description, tags, blob, format,
        media_type, width, height, size, sha256, metadata, status, renditions, version,
        sequence, received_at, updated_at, offered_at)
    VALUES ($1, $2, '', '', '{}', $3, 'JPEG', 'image/jpeg', 1, 1, 10, '', '{}', 'ready', '[]', 1,
        1, now(), now(), now())""",
    """INSERT INTO tasks (owner_id, created_by, meta, free, blob, format, media_type, size, sha256,
        sequence, created_at)
    VALUES ($1, $2, '', true, $3, 'JPEG', 'image/jpeg', 100, '', 1, now())""",
    """INSERT INTO tasks (owner_id, created_by, meta, free, blob, format, media_type, size, sha256,
        sequence, created_at)
    VALUES ($1, $2, '', false, $3, 'JPEG', 'image/jpeg', 100, '', 1, now())""",
    """INSERT INTO files (owner_id, created_by, file, name, content_type, kind, size, sha256,
        processed, status, version, sequence, attempts, uploaded_at, updated_at, offered_at)
    VALUES ($1, $2, $3, '', '', 'other', 1000, '', true, 'processed', 1, 1, 0, now(), now(),
        now())""",
)


async def put_in(resources: Resources, space_id: int, user_id: int) -> list[str]:
    """A picture, two tasks and a file of a space, by hand; the keys of their blobs."""
    keys = [uuid.uuid4().hex for _ in PUT_IN]
    for statement, key in zip(PUT_IN, keys, strict=True):
        await resources.database.fetch(statement, space_id, user_id, key)
    return keys


class TestMake:
    """POST /api/spaces."""

    async def test_its_maker_owns_it(self, ada: Person, resources: Resources) -> None:
        """It is no person's own, its events begin with it, and it is where `Location` says."""
        answer = await ada.post("/api/spaces", json={"name": "  The \n Herbarium "})
        record = answer.json()
        assert answer.status_code == 201
        assert (record["name"], record["personal"], record["role"]) == (
            "The Herbarium",
            False,
            "owner",
        )
        again = await ada.get(answer.headers["location"])
        assert (again.json(), again.headers["etag"]) == (record, answer.headers["etag"])
        assert await ada.roles(record["id"]) == {ada.id: "owner"}
        assert await announced(resources, f"spaces/{record['id']}") == [
            "space.created",
            "member.added",
        ]

    async def test_a_repeat_under_a_key_makes_one(self, ada: Person) -> None:
        """The first answer comes again."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        first, again = [
            await ada.post("/api/spaces", json={"name": "n"}, headers=headers) for _ in range(2)
        ]
        assert first.json() == again.json()
        assert again.headers["idempotent-replayed"] == "true"
        other = await ada.post("/api/spaces", json={"name": "m"}, headers=headers)
        assert is_problem(other, 422, "idempotency-key-reused")

    @pytest.mark.parametrize("name", ["", " ", "x" * 101, "a\u0007b", None, 7, ["a"]])
    async def test_what_is_no_name_is_refused(self, ada: Person, name: Any) -> None:
        """The answer names the field."""
        answer = await ada.post("/api/spaces", json={"name": name})
        assert is_problem(answer, 422, "invalid")
        assert answer.json()["errors"][0]["loc"] == ["body", "name"]

    async def test_one_owns_so_many(
        self, ada: Person, bob: Person, resources: Resources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also when all are asked for at once; those that others own do not count."""
        limited = resources.settings.model_copy(update={"space_limit": 2})
        monkeypatch.setattr(resources, "settings", limited)
        await bob.let_in(await bob.space(), ada)
        answers = await asyncio.gather(
            *(ada.post("/api/spaces", json={"name": "n"}) for _ in range(5))
        )
        assert sorted(answer.status_code for answer in answers) == [201, 201, 409, 409, 409]
        refused = await ada.post("/api/spaces", json={"name": "n"})
        assert is_problem(refused, 409, "too-many-spaces")


class TestList:
    """GET /api/spaces."""

    async def test_it_shows_mine_with_my_role(self, ada: Person, bob: Person) -> None:
        """One's own among them; others see none of it."""
        space_id = await ada.space()
        await ada.let_in(space_id, bob, "worker")
        found = (await bob.get("/api/spaces")).json()
        assert [(one["id"], one["role"], one["personal"], one["name"]) for one in found] == [
            (space_id, "worker", False, "Herbarium"),
            (bob.id, "owner", True, None),
        ]

    async def test_it_says_what_is_in_each(self, ada: Person, resources: Resources) -> None:
        """Pictures, tasks by state, files and their bytes."""
        space_id = await ada.space()
        await put_in(resources, space_id, ada.id)
        upload = {"file": ("a.jpg", PHOTO)}
        assert (await ada.post("/api/upload", files=upload)).status_code == 201
        team, own = (await ada.get("/api/spaces")).json()
        assert (team["pictures"], team["tasks"], team["files"], team["bytes"]) == (
            1,
            {"free": 1, "taken": 1, "done": 0},
            1,
            1210,
        )
        assert (own["pictures"], own["tasks"], own["files"], own["bytes"]) == (
            0,
            {"free": 0, "taken": 0, "done": 0},
            1,
            len(PHOTO),
        )

    async def test_it_comes_in_pages(self, ada: Person) -> None:
        """Each space once, newest first."""
        made = [await ada.space() for _ in range(4)]
        found, url = [], "/api/spaces?limit=2"
        while url:
            page = await ada.get(url)
            found += [one["id"] for one in page.json()]
            url = page.links["next"]["url"] if "next" in page.links else ""
        assert found == [*reversed(made), ada.id]

    async def test_a_key_sees_its_space(self, ada: Person) -> None:
        """And no other, by list or by id."""
        space_id = await ada.space()
        body = {"name": "k", "rights": ["images:read"], "space_id": space_id}
        key = (await ada.post("/api/keys", json=body)).json()["key"]
        headers = {"Authorization": f"Bearer {key}"}
        found = (await ada.get("/api/spaces", headers=headers)).json()
        assert [one["id"] for one in found] == [space_id]
        assert (await ada.get(f"/api/spaces/{space_id}", headers=headers)).status_code == 200
        hidden = await ada.get(f"/api/spaces/{ada.id}", headers=headers)
        assert is_problem(hidden, 404, "not-found")


class TestChange:
    """PATCH /api/spaces/{id}."""

    async def test_an_owner_renames_it(self, ada: Person, resources: Resources) -> None:
        """With an event and another entity tag, unless nothing changes."""
        path = f"/api/spaces/{await ada.space()}"
        tag = (await ada.get(path)).headers["etag"]
        answer = await ada.patch(path, json={"name": "Flora"}, headers={"If-Match": tag})
        assert (answer.status_code, answer.json()["name"]) == (200, "Flora")
        assert answer.headers["etag"] != tag
        for body in ({"name": "Flora"}, {}):
            assert (await ada.patch(path, json=body)).headers["etag"] == answer.headers["etag"]
        stale = await ada.patch(path, json={"name": "Fauna"}, headers={"If-Match": tag})
        assert is_problem(stale, 412, "precondition-failed")
        same = {"If-None-Match": answer.headers["etag"]}
        assert (await ada.get(path, headers=same)).status_code == 304
        types = await announced(resources, path.removeprefix("/api/"))
        assert types == ["space.created", "member.added", "space.updated"]

    @pytest.mark.parametrize("role", ["viewer", "worker", "editor"])
    async def test_others_do_not(self, ada: Person, bob: Person, eve: Person, role: str) -> None:
        """403 for a member, 404 for a stranger, who learns no more than of what is not there."""
        space_id = await ada.space()
        await ada.let_in(space_id, bob, role)
        for method in ("PATCH", "DELETE"):
            body = {"json": {"name": "n"}} if method == "PATCH" else {}
            path = f"/api/spaces/{space_id}"
            mine = await bob.client.request(method, path, **body)
            assert is_problem(mine, 403, "not-allowed")
            strange = await eve.client.request(method, path, **body)
            nobody = await eve.client.request(method, f"/api/spaces/{2**40}", **body)
            assert is_problem(strange, 404, "not-found")
            assert strange.content == nobody.content

    async def test_ones_own_stays(self, ada: Person) -> None:
        """It has no other name, is not deleted by itself, and nobody else comes in."""
        path = f"/api/spaces/{ada.id}"
        answers = [
            await ada.patch(path, json={"name": "n"}),
            await ada.delete(path),
            await ada.leave(ada.id),
            await ada.put(f"{path}/members/{ada.id}", json={"role": "viewer"}),
            await ada.post("/api/invitations", json={"space_id": ada.id, "role": "viewer"}),
        ]
        assert all(is_problem(answer, 409, "personal-space") for answer in answers)
        assert await ada.roles(ada.id) == {ada.id: "owner"}


class TestDelete:
    """DELETE /api/spaces/{id}."""

    async def test_everything_in_it_goes(
        self, ada: Person, bob: Person, resources: Resources
    ) -> None:
        """Rows, members, invitations and keys; the blobs become garbage, the events come first."""
        space_id = await ada.space()
        await ada.let_in(space_id, bob)
        await ada.invite(space_id)
        body = {"name": "k", "rights": ["images:read"], "space_id": space_id}
        key = (await bob.post("/api/keys", json=body)).json()["key"]
        blobs = await put_in(resources, space_id, bob.id)
        assert (await ada.delete(f"/api/spaces/{space_id}")).status_code == 204
        for table in ("images", "tasks", "files", "owner_usage"):
            query = f"SELECT 1 FROM {table} WHERE owner_id = $1"
            assert await resources.database.fetch(query, space_id) == []
        for table in ("members", "account_links", "api_keys"):
            query = f"SELECT 1 FROM {table} WHERE space_id = $1"
            assert await resources.database.fetch(query, space_id) == []
        garbage = "SELECT key FROM blob_garbage WHERE key = any($1)"
        assert {row["key"] for row in await resources.database.fetch(garbage, blobs)} == {*blobs}
        types = await announced(resources, f"spaces/{space_id}")
        assert types[-1] == "space.deleted"
        for person in (ada, bob):
            assert is_problem(await person.get(f"/api/spaces/{space_id}"), 404, "not-found")
        headers = {"Authorization": f"Bearer {key}"}
        assert (await bob.get("/api/spaces", headers=headers)).status_code == 401

    async def test_if_match_is_honoured(self, ada: Person) -> None:
        """Only the space that one has seen is deleted."""
        path = f"/api/spaces/{await ada.space()}"
        stale = await ada.delete(path, headers={"If-Match": '"0"'})
        assert is_problem(stale, 412, "precondition-failed")
        assert (await ada.get(path)).status_code == 200

    async def test_twice_at_once_deletes_once(self, ada: Person, resources: Resources) -> None:
        """One 204 and one event."""
        space_id = await ada.space()
        answers = await asyncio.gather(*(ada.delete(f"/api/spaces/{space_id}") for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [204, 404, 404, 404]
        types = await announced(resources, f"spaces/{space_id}")
        assert types.count("space.deleted") == 1
