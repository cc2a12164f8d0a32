"""Tasks as their owners meet them: made, read, listed, deleted, and by every path of the seed."""

from __future__ import annotations

import asyncio
import base64
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from atelier.commands.check import check
from tests.problems import is_problem
from tests.tasks.conftest import PNG, picture

if TYPE_CHECKING:
    from atelier.http.resources import Resources
    from tests.tasks.conftest import Person


class TestCreate:
    """POST /api/tasks."""

    async def test_base64(self, ada: Person) -> None:
        """The record is that of the contract, and the picture comes back byte by byte."""
        content = picture()
        made = await ada.create(content, "Is the light red?")
        assert made == {
            "id": made["id"],
            "space_id": ada.id,
            "created_by": ada.id,
            "queue_id": None,
            "image_id": None,
            "meta": "Is the light red?",
            "free": True,
            "state": "free",
            "taken_at": None,
            "taken_by": None,
            "skipped_until": None,
            "completed_at": None,
            "completed_by": None,
            "seconds": None,
            "result": None,
            "created_at": made["created_at"],
            "image": {
                "url": f"/api/tasks/{made['id']}/image",
                "format": "PNG",
                "size": len(content),
            },
            "view": {"url": f"/api/tasks/{made['id']}/view"},
        }
        answer = await ada.get(made["image"]["url"])
        assert (answer.status_code, answer.content) == (200, content)
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["x-content-type-options"] == "nosniff"

    @pytest.mark.parametrize("size", [10, 3 << 20])
    async def test_multipart(self, ada: Person, size: int) -> None:
        """The record is the same whatever name and media type the client claims."""
        content = PNG + bytes(size)
        files = {"image": ("photo.jpg", content, "image/jpeg")}
        answer = await ada.post("/api/tasks", files=files, data={"meta": "м"})
        assert answer.status_code == 201, answer.text
        assert (answer.json()["meta"], answer.json()["image"]["format"]) == ("м", "PNG")
        assert answer.headers["location"] == f"/api/tasks/{answer.json()['id']}"
        assert (await ada.get(answer.json()["image"]["url"])).content == content

    async def test_a_large_base64_goes_through_the_disk(
        self, ada: Person, resources: Resources
    ) -> None:
        """It comes back whole, and nothing stays in the spool."""
        content = PNG + bytes(range(256)) * 20_000
        made = await ada.create(content)
        assert (await ada.get(made["image"]["url"])).content == content
        assert not list((resources.settings.blobs_folder / ".incoming").glob("*"))

    @pytest.mark.parametrize("ending", ['@", "meta": ""}', '", "meta": 5}', '", "meta": ""'])
    async def test_a_large_body_that_turns_out_bad_leaves_nothing(
        self, ada: Person, resources: Resources, ending: str
    ) -> None:
        """However late that shows: no file in the spool, none in the store."""
        content = b'{"image": "' + base64.b64encode(PNG + bytes(3 << 20)) + ending.encode()
        blobs = len(list(resources.settings.blobs_folder.rglob("*")))
        answer = await ada.post(
            "/api/tasks", content=content, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code in (400, 422)
        assert not list((resources.settings.incoming_folder).glob("*"))
        assert len(list(resources.settings.blobs_folder.rglob("*"))) == blobs

    @pytest.mark.parametrize(
        ("body", "status", "slug"),
        [
            ({"image": "QUJD", "meta": ""}, 415, "unsupported"),
            ({"image": "", "meta": ""}, 415, "unsupported"),
            ({"image": "QUJ", "meta": ""}, 422, "invalid"),
            ({"image": "data:image/png;base64,QUJD", "meta": ""}, 422, "invalid"),
            ({"image": 5, "meta": ""}, 422, "invalid"),
            ({"meta": ""}, 422, "invalid"),
            ({"image": "QUJD"}, 422, "invalid"),
            ({"image": "QUJD", "meta": 7}, 422, "invalid"),
            ({"image": "QUJD", "meta": "x" * 10_001}, 422, "invalid"),
            ({"image": "QUJD", "meta": "", "mota": ""}, 422, "invalid"),
            ({"image": "QUJD", "meta": "a\0b"}, 422, "invalid"),
            (["QUJD"], 422, "invalid"),
        ],
    )
    async def test_a_bad_body_makes_nothing(
        self, ada: Person, body: Any, status: int, slug: str
    ) -> None:
        """No task, no count, and a problem that says what is wrong."""
        assert is_problem(await ada.post("/api/tasks", json=body), status, slug)
        assert await ada.counter() == 0
        assert (await ada.get("/api/tasks")).json() == []

    @pytest.mark.parametrize(
        ("content", "content_type", "status"),
        [
            (b'{"image": "QUJD", "meta": ""', "application/json", 400),
            (b'{"image": "QUJD', "application/json", 400),
            (b"\xff", "application/json", 400),
            (b"", "application/json", 400),
            (b'{"image": "QUJD", "meta": ""}', "text/plain", 415),
            (PNG, "image/png", 415),
        ],
    )
    async def test_what_is_no_json_is_refused(
        self, ada: Person, content: bytes, content_type: str, status: int
    ) -> None:
        """With the status of its fault."""
        answer = await ada.post(
            "/api/tasks", content=content, headers={"Content-Type": content_type}
        )
        assert answer.status_code == status

    async def test_meta_is_kept_as_it_came(self, ada: Person) -> None:
        """Newlines, quotes, and characters beyond the basic plane.

        Up to the limit, which counts characters.
        """
        for meta in ('{"a": "b\\n"}\r\n\t😀', "😀" * 10_000, ""):
            made = await ada.create(meta=meta)
            assert (await ada.get(f"/api/tasks/{made['id']}")).json()["meta"] == meta

    async def test_a_body_over_the_limit_is_refused(self, ada: Person) -> None:
        """413, by what is sent and not by what it decodes to."""
        image = base64.b64encode(PNG + bytes(97 << 20)).decode()
        assert is_problem(
            await ada.post("/api/tasks", json={"image": image, "meta": ""}), 413, "too-large"
        )

    async def test_an_idempotency_key_makes_one_task(self, ada: Person) -> None:
        """However it is sent, the same content under one key is answered from the first run.

        Other content is not.
        """
        content, key = picture(), {"Idempotency-Key": uuid.uuid4().hex}
        first = await ada.create(content, "m", headers=key)
        assert await ada.create(content, "m", headers=key) == first
        files = {"image": ("a.png", content)}
        again = await ada.post("/tasks", files=files, data={"meta": "m"}, headers=key)
        assert (again.status_code, again.json()) == (201, first)
        assert await ada.counter() == 1
        body = {"image": base64.b64encode(content).decode(), "meta": "other"}
        assert is_problem(
            await ada.post("/api/tasks", json=body, headers=key), 422, "idempotency-key-reused"
        )

    async def test_nothing_is_made_for_an_account_that_is_gone(
        self, ada: Person, resources: Resources
    ) -> None:
        """A creation during the account's deletion is refused, and its file becomes garbage."""
        creations = [
            asyncio.create_task(
                ada.post("/api/tasks", files={"image": picture()}, data={"meta": ""})
            )
            for _ in range(8)
        ]
        await asyncio.sleep(0.01)
        assert (await ada.delete(f"/api/users/{ada.id}")).status_code == 204
        assert {answer.status_code for answer in await asyncio.gather(*creations)} <= {201, 401}
        assert not await resources.database.fetch(
            "SELECT 1 FROM tasks WHERE owner_id = $1", ada.id
        )
        assert not (await check(resources.database, resources.blobs)).orphaned


class TestRead:
    """Records, lists and pictures."""

    async def test_a_record_has_an_entity_tag(self, ada: Person) -> None:
        """Which saves sending it again, until the task is taken."""
        path = f"/api/tasks/{(await ada.create())['id']}"
        tag = (await ada.get(path)).headers["etag"]
        assert (await ada.get(path, headers={"If-None-Match": tag})).status_code == 304
        await ada.take()
        assert (await ada.get(path, headers={"If-None-Match": tag})).json()["free"] is False

    async def test_a_picture_answers_conditions_and_ranges(self, ada: Person) -> None:
        """304 for its entity tag, 206 for a part, and never an active page."""
        content = picture()
        path = (await ada.create(content))["image"]["url"]
        whole = await ada.get(path)
        assert "sandbox" in whole.headers["content-security-policy"]
        assert (
            await ada.get(path, headers={"If-None-Match": whole.headers["etag"]})
        ).status_code == 304
        part = await ada.get(path, headers={"Range": "bytes=1-3"})
        assert (part.status_code, part.content) == (206, content[1:4])

    async def test_svg_is_an_attachment(self, ada: Person) -> None:
        """It is an image and comes back as it is, but no browser runs what is in it."""
        content = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
        made = await ada.create(content)
        answer = await ada.get(made["image"]["url"])
        assert (answer.content, answer.headers["content-type"]) == (content, "image/svg+xml")
        assert answer.headers["content-disposition"].startswith("attachment;")
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert answer.headers["x-content-type-options"] == "nosniff"

    async def test_lists_are_searched_by_text(self, ada: Person) -> None:
        """Whatever the case, with any other filter, page by page; its signs mean themselves."""
        metas = ("Traffic 100%", "other", "traffic 1000")
        made = [(await ada.create(meta=meta))["id"] for meta in metas]
        assert (await ada.take()).json()["id"] == made[0]
        for params, expected in (
            ({"q": "TRAFFIC"}, [made[2], made[0]]),
            ({"q": "0%"}, [made[0]]),
            ({"q": "traffic", "free": True}, [made[2]]),
            ({"q": "traffic", "state": "taken"}, [made[0]]),
            ({"q": "traffic", "state": "done"}, []),
        ):
            answer = await ada.get("/api/tasks", params=params | {"limit": 1})
            seen = [task["id"] for task in answer.json()]
            if "next" in answer.links:
                seen += [
                    task["id"] for task in (await ada.get(answer.links["next"]["url"])).json()
                ]
            assert seen == expected, params
        assert (await ada.get("/api/tasks", params={"q": "x" * 201})).status_code == 422

    async def test_lists_are_newest_first_and_paged(self, ada: Person) -> None:
        """Every task once, whether free or not, filtered or not."""
        made = [(await ada.create())["id"] for _ in range(7)]
        taken = [(await ada.take()).json()["id"] for _ in range(3)]
        for query, expected in (
            ("", made),
            ("free=true", [each for each in made if each not in taken]),
            ("free=false", taken),
        ):
            seen: list[int] = []
            path: str | None = f"/api/tasks?limit=2&{query}"
            while path:
                answer = await ada.get(path)
                seen += [task["id"] for task in answer.json()]
                path = answer.links["next"]["url"] if answer.links else None
            assert seen == sorted(expected, reverse=True)

    @pytest.mark.parametrize("task_id", ["0", "x", "-1", str(2**63)])
    async def test_an_id_that_cannot_be_is_refused(self, ada: Person, task_id: str) -> None:
        """Before the database is asked."""
        assert is_problem(await ada.get(f"/api/tasks/{task_id}"), 422, "invalid")


class TestDelete:
    """DELETE /api/tasks/{id}."""

    async def test_the_picture_goes_with_the_task(self, ada: Person, resources: Resources) -> None:
        """Without a trash no row, no file, and the counter as it was."""
        resources.settings = resources.settings.model_copy(update={"trash_days": 0})
        made = await ada.create()
        blob = await resources.database.fetchrow(
            "SELECT blob FROM tasks WHERE id = $1", made["id"]
        )
        path = resources.blobs.path(blob["blob"])
        assert path
        assert path.exists()
        assert (await ada.delete(f"/api/tasks/{made['id']}")).status_code == 204
        assert not path.exists()
        for gone in ("", "/image"):
            assert is_problem(await ada.get(f"/api/tasks/{made['id']}{gone}"), 404, "not-found")
        assert await ada.counter() == 1

    async def test_a_file_that_is_gone_already_is_no_hindrance(
        self, ada: Person, resources: Resources
    ) -> None:
        """The picture is 404, and the task is deleted all the same."""
        made = await ada.create()
        blob = await resources.database.fetchrow(
            "SELECT blob FROM tasks WHERE id = $1", made["id"]
        )
        await resources.blobs.delete([blob["blob"]])
        assert is_problem(await ada.get(made["image"]["url"]), 404, "not-found")
        assert (await ada.delete(f"/api/tasks/{made['id']}")).status_code == 204
        assert is_problem(await ada.delete(f"/api/tasks/{made['id']}"), 404, "not-found")

    async def test_if_match_is_honoured(self, ada: Person) -> None:
        """Only the task that one has seen is deleted."""
        path = f"/api/tasks/{(await ada.create())['id']}"
        tag = (await ada.get(path)).headers["etag"]
        await ada.take()
        assert is_problem(
            await ada.delete(path, headers={"If-Match": tag}), 412, "precondition-failed"
        )
        tag = (await ada.get(path)).headers["etag"]
        assert (await ada.delete(path, headers={"If-Match": tag})).status_code == 204

    async def test_everything_goes_with_the_account(
        self, ada: Person, bob: Person, resources: Resources
    ) -> None:
        """Rows at once, files with the next collection, each with its event.

        And nothing of anybody else.
        """
        made = [await ada.create() for _ in range(3)]
        kept = await bob.create()
        await ada.take()
        keys = [
            r["blob"]
            for r in await resources.database.fetch(
                "SELECT blob FROM tasks WHERE owner_id = $1", ada.id
            )
        ]
        assert (await ada.delete(f"/api/users/{ada.id}")).status_code == 204
        listed = await resources.database.fetch(
            "SELECT key FROM blob_garbage WHERE key = any($1)", keys
        )
        assert {row["key"] for row in listed} == set(keys)
        report = await check(resources.database, resources.blobs)
        assert not report.missing or not set(report.missing) & set(keys)
        assert not report.orphaned
        assert not report.gaps
        subjects = [f"tasks/{task['id']}" for task in made]
        query = "SELECT subject FROM outbox WHERE type = 'task.deleted' AND subject = any($1)"
        assert len(await resources.database.fetch(query, subjects)) == 3
        assert (await bob.get(kept["image"]["url"])).status_code == 200


async def test_others_see_nothing(ada: Person, bob: Person) -> None:
    """To everybody but its owner a task does not exist, whatever is asked of it."""
    task_id = (await ada.create())["id"]
    token = (await ada.take(60)).json()["lease"]["token"]
    for answer in (
        await bob.get(f"/api/tasks/{task_id}"),
        await bob.get(f"/api/tasks/{task_id}/image"),
        await bob.delete(f"/api/tasks/{task_id}"),
        await bob.post(f"/api/tasks/{task_id}/renew", json={"token": token, "lease_seconds": 5}),
        await bob.post(f"/api/tasks/{task_id}/release", json={"token": token}),
        await bob.post(f"/api/tasks/{task_id}/complete", json={"token": token}),
    ):
        assert is_problem(answer, 404, "not-found")
    assert is_problem(await bob.take(), 404, "no-free-task")
    assert (await bob.get("/api/tasks")).json() == []
    assert (await ada.get(f"/api/tasks/{task_id}")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/tasks"),
        ("GET", "/api/tasks"),
        ("GET", "/api/tasks/1"),
        ("GET", "/api/tasks/1/image"),
        ("DELETE", "/api/tasks/1"),
        ("POST", "/api/tasks/take"),
        ("POST", "/api/tasks/1/release"),
        ("GET", "/api/tasks/total_created"),
        ("GET", "/take_free_task?user_id=1"),
        ("GET", "/total_tasks_created"),
    ],
)
async def test_a_token_is_needed(ada: Person, method: str, path: str) -> None:
    """The seed's `user_id` opens nothing."""
    del ada.client.headers["Authorization"]
    assert is_problem(await ada.client.request(method, path), 401, "unauthenticated")


async def test_every_literal_path_of_the_seed(ada: Person) -> None:
    """With and without a slash at the end, by the same rules as the canonical ones."""
    image = base64.b64encode(picture()).decode()
    made = [
        (await ada.post(path, json={"image": image, "meta": "m"})).json()["id"]
        for path in ("/tasks", "/tasks/")
    ]
    total = (await ada.get("/total_tasks_created/")).json()
    assert (
        total
        == (await ada.get("/total_tasks_created")).json()
        == (await ada.get("/api/tasks/total_created")).json()
    )
    assert list(total) == ["total_tasks_created"]
    assert [task["id"] for task in (await ada.get("/tasks")).json()] == made[::-1]
    assert (await ada.get(f"/tasks/{made[0]}")).json() == (
        await ada.get(f"/api/tasks/{made[0]}")
    ).json()
    assert (await ada.get(f"/tasks/{made[0]}/image")).content == base64.b64decode(image)
    taken = await ada.get("/take_free_task")
    assert (taken.json()["id"], taken.headers["cache-control"]) == (made[0], "no-store")
    assert (await ada.get("/take_free_task/")).json()["id"] == made[1]
    assert is_problem(await ada.get("/take_free_task"), 404, "no-free-task")
    assert (await ada.delete(f"/tasks/{made[0]}")).status_code == 204
    assert (await ada.delete(f"/user/{ada.id}")).status_code == 204


async def test_head_takes_nothing(ada: Person) -> None:
    """It would hand out a task to somebody who does not see which."""
    await ada.create()
    answer = await ada.client.head("/take_free_task")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert len((await ada.get("/api/tasks?free=true")).json()) == 1


async def test_openapi_describes_every_path(ada: Person) -> None:
    """The literal ones as deprecated, the body of a new task in both its forms."""
    paths = (await ada.get("/openapi.json")).json()["paths"]
    for path, method in (
        ("/tasks", "post"),
        ("/tasks", "get"),
        ("/tasks/{task_id}", "get"),
        ("/tasks/{task_id}", "delete"),
        ("/tasks/{task_id}/image", "get"),
    ):
        assert paths[path][method]["deprecated"]
        assert "deprecated" not in paths[f"/api{path}"][method]
    assert paths["/take_free_task"]["get"]["deprecated"]
    assert paths["/total_tasks_created"]["get"]["deprecated"]
    assert set(paths["/api/tasks"]["post"]["requestBody"]["content"]) == {
        "application/json",
        "multipart/form-data",
    }
