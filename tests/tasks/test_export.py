"""The export of tasks, against the database."""

from __future__ import annotations

import asyncio
import csv
import io
from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import httpx2
import orjson
import pytest

from atelier.http import exporting
from atelier.http.csv_lines import BOM
from atelier.tasks import export
from atelier.tasks.export import Wanted, batches
from atelier.tasks.export_formats import HEADER
from atelier.tasks.pools import QUEUE, SPACE, Pool
from tests.tasks.conftest import Person, make_team
from tests.tasks.test_routes import is_problem
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI
    from starlette.types import Message

    from atelier.http.resources import Resources

URL = "/api/tasks/export"
MEDIA_TYPES = {"csv": "text/csv; charset=utf-8; header=present", "jsonl": "application/jsonl"}
FORM = {
    "question": "Что горит?",
    "fields": [
        {"name": "light", "type": "choice", "choices": [{"value": "red"}, {"value": "=green"}]},
        {
            "name": "seen",
            "type": "choices",
            "choices": [{"value": "car"}, {"value": "bus"}],
            "required": False,
        },
        {"name": "remark", "type": "text", "required": False},
    ],
}
# Two thirds are answered, of the others half are taken; every other is in the queue.
MANY = """
    INSERT INTO tasks (owner_id, queue_id, meta, free, taken_at, taken_by, completed_at, blob,
        format, media_type, size, sha256, sequence, created_at)
    SELECT $1, CASE WHEN n % 2 = 0 THEN $3::bigint END, 'no ' || n, n % 6 = 0,
        CASE WHEN n % 6 > 0 THEN now() END, CASE WHEN n % 6 > 0 THEN $2::bigint END,
        CASE WHEN n % 3 > 0 AND n % 6 > 0 THEN now() END, 'x', 'PNG', 'image/png', 1, '', 1, now()
    FROM generate_series(1, $4::int) AS n
"""
ANSWERS = """
    INSERT INTO answers (task_id, queue_id, user_id, result, at, seconds)
    SELECT id, queue_id, $2, jsonb_build_object('light', 'red', 'n', id), completed_at, 1.25
    FROM tasks WHERE owner_id = $1 AND completed_at IS NOT NULL
"""


async def exported(person: Person, **params: object) -> list[dict[str, str]]:
    """The rows of a CSV, by columns."""
    answer = await person.get(URL, params=params)
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.content.decode(), newline="")))


async def ids(person: Person, **params: object) -> list[int]:
    """Which tasks are in an export."""
    return [int(row["id"]) for row in await exported(person, **params)]


async def make_queue(person: Person, **body: Any) -> int:
    """A queue."""
    answer = await person.post("/api/queues", json={"name": "Lights"} | body)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


async def work(person: Person, result: object, **params: object) -> dict[str, Any]:
    """Take the oldest free task and answer it; its record."""
    taken = (await person.take(600, params=params)).json()
    answer = await person.post(
        f"/api/tasks/{taken['id']}/complete",
        json={"token": taken["lease"]["token"], "result": result},
    )
    assert answer.status_code == 200, answer.text
    done: dict[str, Any] = answer.json()
    return done


async def fill(resources: Resources, person: Person, queue: int | None, count: int) -> None:
    """Tasks in every state, some of them in a queue."""
    await resources.database.fetch(MANY, person.id, person.id, queue, count)
    await resources.database.fetch(ANSWERS, person.id, person.id)


class TestRows:
    """What is in an export."""

    async def test_every_state(self, ada: Person) -> None:
        """Free, with a lease, skipped and done, oldest first, each as its record says."""
        made = [await ada.create(meta=f"no {n}") for n in range(4)]
        done = await work(ada, {"light": "red"})
        skipped = (await ada.take(600)).json()
        held = {"token": skipped["lease"]["token"], "for_seconds": 600}
        assert (await ada.post(f"/api/tasks/{skipped['id']}/skip", json=held)).status_code == 200
        await ada.take(600)
        rows = await exported(ada)
        assert [int(row["id"]) for row in rows] == [task["id"] for task in made]
        assert [row["state"] for row in rows] == ["done", "taken", "taken", "free"]
        assert list(rows[0]) == [*HEADER, "result"]
        assert rows[0] == {
            "id": str(done["id"]),
            "space_id": str(ada.id),
            "queue_id": "",
            "image_id": "",
            "meta": "no 0",
            "state": "done",
            "created_at": done["created_at"],
            "taken_at": done["taken_at"],
            "completed_at": done["completed_at"],
            "completed_by": str(ada.id),
            "completed_by_name": "",
            "seconds": str(done["seconds"]),
            "result": '{"light": "red"}',
        }
        assert rows[1]["taken_at"] == rows[3]["result"] == rows[3]["completed_by"] == ""

    async def test_json_lines_are_the_records(self, ada: Person) -> None:
        """One a line, as the list shows them."""
        for meta in ("a\nb", "Горит", "\u2028"):
            await ada.create(meta=meta)
        await work(ada, ["a\nb", "да"])
        answer = await ada.get(URL, params={"format": "jsonl"})
        *lines, end = answer.content.split(b"\n")
        assert end == b""
        listed = (await ada.get("/api/tasks")).json()
        assert [orjson.loads(line) for line in lines] == listed[::-1]

    async def test_texts(self, ada: Person) -> None:
        """Letters of any alphabet, line ends and quotes come back; no cell is a formula."""
        texts = ["Горит ли?", 'one\ntwo, "three"', "=HYPERLINK(0)", "-5"]
        for meta in texts:
            await ada.create(meta=meta)
        found = [row["meta"] for row in await exported(ada)]
        assert found == [*texts[:2], "'=HYPERLINK(0)", "-5"]

    async def test_a_form_has_columns(self, ada: Person) -> None:
        """One for each field, choices joined; without the queue the answer is JSON."""
        queue = await make_queue(ada, form=FORM)
        for _ in range(2):
            image = {"image": "R0lGODlhAQABAAAAACwAAAAAAQABAAACAkQBADs=", "meta": ""}
            assert (
                await ada.post("/api/tasks", json=image | {"queue_id": queue})
            ).status_code == 201
        answer = {"light": "=green", "seen": ["car", "bus"], "remark": "на\nуглу"}
        await work(ada, answer)
        first, second = await exported(ada, queue=queue)
        assert list(first) == [*HEADER, "light", "seen", "remark"]
        assert (first["light"], first["seen"], first["remark"]) == (
            *("'=green", "car; bus", "на\nуглу"),
        )
        assert (second["light"], second["seen"], second["remark"]) == ("", "", "")
        [result, none] = [row["result"] for row in await exported(ada)]
        assert (orjson.loads(result), none) == (answer, "")

    async def test_the_name_of_who_answered(self, ada: Person, application: FastAPI) -> None:
        """As they call themselves; of somebody who deleted the account nothing is left."""
        carol = await Person(application).enter()
        resources: Resources = application.state.resources
        team = await make_team(resources, (ada, "owner"), (carol, "worker"))
        await ada.create(params={"space": team.id})
        await carol.client.patch("/api/users/me", json={"name": "Карол"})
        await work(carol, "yes", space=team.id)
        [row] = await exported(ada, space=team.id)
        assert (row["completed_by"], row["completed_by_name"]) == (str(carol.id), "Карол")
        gone = await carol.delete(f"/api/users/{carol.id}")
        assert gone.status_code == 204, gone.text
        await carol.client.aclose()
        [row] = await exported(ada, space=team.id)
        assert (row["completed_by"], row["completed_by_name"]) == ("", "")
        assert row["result"] == '"yes"'

    async def test_a_correction_counts(self, ada: Person) -> None:
        """Of two answers to a task the last one is there, once."""
        await ada.create()
        done = await work(ada, "red")
        url = f"/api/tasks/{done['id']}/answer"
        assert (await ada.client.patch(url, json={"result": "green"})).status_code == 200
        [row] = await exported(ada)
        assert row["result"] == '"green"'


class TestFilters:
    """Which tasks are in an export."""

    async def test_state_person_and_time(self, ada: Person, resources: Resources) -> None:
        """Each finds what a search of the database finds; times are half open."""
        team = await make_team(resources, (ada, "owner"))
        for _ in range(4):
            await ada.create(params={"space": team.id})
        first, second = [await work(ada, n, space=team.id) for n in range(2)]
        await ada.take(600, params={"space": team.id})
        at = {"space": team.id}
        done = [first["id"], second["id"]]
        taken, free = done[1] + 1, done[1] + 2
        assert await ids(ada, **at) == [*done, taken, free]
        assert await ids(ada, state="free", **at) == [free]
        assert await ids(ada, state="taken", **at) == [taken]
        assert await ids(ada, state="done", **at) == done
        assert await ids(ada, by=ada.id, **at) == done
        assert await ids(ada, by=ada.id + 10**6, **at) == []
        moment = {"from": second["completed_at"]}
        assert await ids(ada, **moment, **at) == [second["id"]]
        assert await ids(ada, to=second["completed_at"], **at) == [first["id"]]
        assert await ids(ada, **moment, to=second["completed_at"], **at) == []

    @pytest.mark.parametrize(
        ("params", "name"),
        [
            ({"format": "xlsx"}, "format"),
            ({"state": "lost"}, "state"),
            ({"from": "2026-11-30"}, "from"),
            ({"to": "0001-01-01T00:00:00+01:00"}, "to"),
            ({"by": "0"}, "by"),
            ({"bom": "true", "format": "jsonl"}, "bom"),
            ({"user": "7"}, "user"),
        ],
    )
    async def test_what_is_not_understood(
        self, ada: Person, params: dict[str, str], name: str
    ) -> None:
        """422 names the parameter."""
        answer = await ada.get(URL, params=params)
        assert is_problem(answer, 422, "invalid")
        assert [error["loc"] for error in answer.json()["errors"]] == [["query", name]]


class TestBatches:
    """Many tasks, in several statements."""

    async def test_each_task_once(self, ada: Person, resources: Resources) -> None:
        """12,000 in every state, of a space and of a queue: as the database has them."""
        queue = await make_queue(ada)
        await fill(resources, ada, queue, 12_000)
        query = """
            SELECT id, queue_id, CASE WHEN free THEN 'free' WHEN completed_at IS NULL THEN 'taken'
                ELSE 'done' END AS state FROM tasks WHERE owner_id = $1 ORDER BY id
        """
        rows = await resources.database.fetch(query, ada.id)
        assert Counter(row["state"] for row in rows) == {
            "free": 2_000, "taken": 2_000, "done": 8_000,
        }  # fmt: skip
        found = await exported(ada)
        assert [(int(row["id"]), row["state"]) for row in found] == [
            (row["id"], row["state"]) for row in rows
        ]
        assert all(
            orjson.loads(row["result"])["n"] == int(row["id"])
            for row in found
            if row["state"] == "done"
        )
        assert await ids(ada, queue=queue) == [r["id"] for r in rows if r["queue_id"] == queue]
        for state in ("free", "taken", "done"):
            assert await ids(ada, state=state) == [r["id"] for r in rows if r["state"] == state]

    async def test_large_answers_come_in_small_batches(
        self, ada: Person, resources: Resources
    ) -> None:
        """A batch ends with the answer that goes over its bytes: memory stays flat."""
        await resources.database.fetch(MANY, ada.id, ada.id, None, 100)
        large = "UPDATE answers SET result = to_jsonb(repeat('a', 60000)) WHERE user_id = $1"
        await resources.database.fetch(ANSWERS, ada.id, ada.id)
        await resources.database.fetch(large, ada.id)
        found = [
            sum(len(row["result"] or "") for row in rows)
            async for rows in batches(
                resources.database, Wanted(Pool(SPACE, ada.id)), "id, meta, free, completed_at"
            )
        ]
        assert len(found) > 3
        assert max(found) < export.BATCH_BYTES + 60_002
        assert sum(found) == 67 * 60_002

    async def test_a_task_that_changes_meanwhile_is_there_once(
        self, ada: Person, resources: Resources
    ) -> None:
        """Also when it turns from free to taken between two batches, or back."""
        await fill(resources, ada, None, 6_000)
        wanted = Wanted(Pool(SPACE, ada.id))
        seen: list[int] = []
        async with aclosing(
            batches(resources.database, wanted, "id, meta, free, completed_at")
        ) as found:
            async for rows in found:
                seen += [row["id"] for row in rows]
                flip = (
                    "UPDATE tasks SET free = NOT free WHERE owner_id = $1 AND completed_at IS NULL"
                )
                await resources.database.fetch(flip, ada.id)
        assert len(seen) == len(set(seen)) == 6_000

    @pytest.mark.parametrize("state", [None, *export.State])
    @pytest.mark.parametrize("column", [SPACE, QUEUE])
    async def test_one_index_finds_a_batch(
        self, ada: Person, resources: Resources, column: str, state: export.State | None
    ) -> None:
        """That of the hand-out; no table is read as a whole."""
        query = export.statement(column, state, "id, meta, free, completed_at")
        plan = "\n".join(
            row[0]
            for row in await resources.database.fetch(
                f"EXPLAIN {query}", ada.id, 0, None, None, None, None
            )
        )
        assert f"ix_tasks_{column}_free_id" in plan
        assert "Seq Scan on" not in plan.replace("Seq Scan on users", "")


class TestAnswer:
    """The file, and who gets it."""

    @pytest.mark.parametrize("format_", MEDIA_TYPES)
    async def test_it_is_a_file(self, ada: Person, format_: str) -> None:
        """An attachment with a name that says what it is, which no cache keeps; HEAD the same."""
        queue = await make_queue(ada, name="Свет: №1")
        await ada.create()
        for method in ("GET", "HEAD"):
            answer = await ada.client.request(method, URL, params={"format": format_})
            assert answer.headers["content-type"] == MEDIA_TYPES[format_]
            assert answer.headers["cache-control"] == "no-store"
            assert (
                f'attachment; filename="tasks-{ada.id}-2' in answer.headers["content-disposition"]
            )
            assert bool(answer.content) == (method == "GET")
        answer = await ada.get(URL, params={"format": format_, "queue": queue})
        assert "%D0%A1%D0%B2%D0%B5%D1%82-%E2%84%961-2" in answer.headers["content-disposition"]

    async def test_none(self, ada: Person) -> None:
        """A CSV of a header, with its mark if one is wanted, and no line of JSON."""
        header = (",".join([*HEADER, "result"]) + "\r\n").encode()
        assert (await ada.get(URL)).content == header
        marked = await ada.get(URL, params={"bom": "true"})
        assert marked.content == BOM.encode() + header
        assert (await ada.get(URL, params={"format": "jsonl"})).content == b""

    async def test_who_may(self, ada: Person, bob: Person, resources: Resources) -> None:
        """Every member; to strangers there is neither the space nor the queue."""
        team = await make_team(resources, (ada, "owner"))
        queue = await make_queue(ada, space_id=team.id)
        for params in ({"space": team.id}, {"queue": queue}):
            assert is_problem(await bob.get(URL, params=params), 404, "not-found")
            await team.add(bob, "viewer")
            assert (await bob.get(URL, params=params)).status_code == 200
            await team.add(bob, None)
        answer = await ada.get(URL, params={"queue": queue, "space": ada.id})
        assert is_problem(answer, 404, "not-found")

    async def test_keys(self, ada: Person) -> None:
        """A key that may see tasks is enough."""
        await ada.create()
        for right, status in (("tasks:read", 200), ("images:read", 403)):
            body = {"name": "k", "rights": [right]}
            key = (await ada.post("/api/keys", json=body)).json()["key"]
            headers = {"Authorization": f"Bearer {key}"}
            assert (await ada.get(URL, headers=headers)).status_code == status

    async def test_so_many_at_a_time(
        self, ada: Person, application: FastAPI, resources: Resources
    ) -> None:
        """429 for one more of the same person; a reader that waits holds no connection."""
        await fill(resources, ada, None, 6_000)
        readers = [Reader(application, ada) for _ in range(exporting.EXPORTS_OF_PERSON)]
        for reader in readers:
            await reader.first.wait()
        assert is_problem(await ada.get(URL), 429, "too-many-requests")
        pool = await resources.database.pool()
        await eventually(lambda: pool.get_size() == pool.get_idle_size())
        for reader in readers:
            reader.go.set()
            await reader.run
            assert reader.ended
        assert (await ada.get(URL)).status_code == 200

    async def test_who_is_no_member_any_more_gets_no_more(
        self,
        ada: Person,
        bob: Person,
        application: FastAPI,
        resources: Resources,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The answer ends without its end."""
        monkeypatch.setattr(exporting, "CHECK_SECONDS", 0.0)
        team = await make_team(resources, (ada, "owner"), (bob, "viewer"))
        await resources.database.fetch(MANY, team.id, ada.id, None, 6_000)
        reader = Reader(application, bob, space=team.id)
        await reader.first.wait()
        await team.add(bob, None)
        reader.go.set()
        await reader.run
        assert not reader.ended
        assert len(reader.body) < 100_000


class Reader:
    """A client that takes the first piece, and the others once it is told to."""

    def __init__(self, application: FastAPI, person: Person, **params: object) -> None:
        self.first, self.go = asyncio.Event(), asyncio.Event()
        self.body = b""
        self.ended = False
        url = httpx2.URL(URL, params=params)
        headers = {"host": "localhost", "authorization": person.client.headers["Authorization"]}
        scope: Mapping[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": URL,
            "raw_path": URL.encode(),
            "query_string": url.query,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("localhost", 80),
            "root_path": "",
            "state": {},
        }
        self.run = asyncio.ensure_future(application(dict(scope), self._receive, self._send))

    async def _receive(self) -> Message:
        if not self.first.is_set():
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.Event().wait()
        raise AssertionError

    async def _send(self, message: Message) -> None:
        if message["type"] != "http.response.body":
            assert message["status"] == 200
            return
        self.body += message["body"]
        self.ended = not message.get("more_body")
        self.first.set()
        await self.go.wait()
