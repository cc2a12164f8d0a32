"""With API processes killed by -9 at any time, no task is handed out twice, lost or leaked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from sqlalchemy import text

from atelier.auth import Tokens
from atelier.blobs import garbage
from atelier.blobs.directory import DirectoryBlobs
from atelier.commands.check import check
from atelier.database import Database
from atelier.tasks.progress import progress
from tests.ports import free_ports
from tests.tasks.conftest import picture
from tests.waiting import PATIENCE_SECONDS, eventually, patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SECRET = "s" * 32
TAKERS, KILLS = 64, 4
LONG_SECONDS, SHORT_SECONDS = 600, 1  # of leases: the latter run out before the answer
SKIP, LATE = 0.97, 0.985  # of what a taker throws: above it they skip, or answer too late
RANDOM = random.Random()


class Instance:
    """Two API processes over one database, which can be killed and started again."""

    def __init__(self, folder: Path, database_url: str, redis_url: str) -> None:
        self.folder = folder
        self.database = Database(database_url)
        self.blobs = DirectoryBlobs(folder / "blobs")
        self.environment = os.environ | {
            "ATELIER_DATABASE_URL": database_url,
            "ATELIER_REDIS_URL": redis_url,
            "ATELIER_SECRET": SECRET,
        }
        self.ports = free_ports(2)
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    async def start(self, port: int) -> None:
        """Start one and wait until it answers."""
        with (self.folder / "api.log").open("ab") as log:
            command = [
                sys.executable,
                "-m",
                "atelier",
                "api",
                "--data",
                str(self.folder),
                "--port",
                str(port),
            ]
            self.processes[port] = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log
            )
        async with patience(), httpx2.AsyncClient(timeout=PATIENCE_SECONDS) as client:
            while True:
                with contextlib.suppress(httpx2.HTTPError):
                    if (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200:
                        return
                assert self.processes[port].poll() is None, (self.folder / "api.log").read_text()[
                    -4000:
                ]
                await asyncio.sleep(0.05)

    async def kill_one(self, port: int) -> None:
        """With -9, and start another in its place."""
        self.processes[port].kill()
        self.processes[port].wait()
        await self.start(port)

    async def user(self) -> tuple[int, dict[str, str]]:
        """A user, made by hand, and the headers of their requests."""
        name = uuid.uuid4()
        row = await self.database.fetchrow(
            """WITH made AS (
                INSERT INTO users (email, email_folded, password_hash, sequence, created_at)
                VALUES ($1, $1, '', 1, now()) RETURNING id
            ) INSERT INTO refresh_families (id, user_id, token_sha256, created_at, expires_at)
            SELECT $2, id, '', now(), now() + interval '1 day' FROM made RETURNING user_id""",
            f"{name}@example.org",
            name,
        )
        assert row
        token = Tokens(SECRET, access_seconds=3600).issue(row["user_id"], str(name))
        return row["user_id"], {"Authorization": f"Bearer {token}"}

    async def sweep(self) -> None:
        """Let the collector remove everything on its list, as if a day had passed."""
        await self.database.fetch("UPDATE blob_garbage SET after = now() - interval '1 second'")
        while await garbage.collect(self.database, self.blobs):
            await self.database.fetch(
                "UPDATE blob_garbage SET after = now() - interval '1 second' WHERE NOT intent"
            )

    async def stop(self) -> None:
        """End everything."""
        for process in self.processes.values():
            process.kill()
            process.wait()
        await self.database.close()


@pytest.fixture
async def instance(
    tmp_path: Path, fresh_database_url: str, redis_url: str
) -> AsyncIterator[Instance]:
    """A new instance, its processes running."""
    made = Instance(tmp_path, fresh_database_url, redis_url)
    try:
        await asyncio.gather(*(made.start(port) for port in made.ports))
        yield made
    finally:
        await made.stop()


class Taker:
    """An HTTP client with one connection at a time that retries elsewhere until answered.

    It answers most of what it takes; some it skips, and some it answers too late.
    """

    def __init__(self, ports: list[int], user_id: int, headers: dict[str, str], pool: str) -> None:
        self.ports = ports
        self.port = ports[0]  # where the connection leads
        self.user_id = user_id
        self.headers = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.pool = pool
        self.broken = self.late = self.skipped = 0
        self.answered: dict[int, str] = {}
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def work(self) -> None:
        """Take and answer until there is nothing left, nor anything that may come back."""
        while True:
            fate = RANDOM.random()
            seconds = SHORT_SECONDS if fate > LATE else LONG_SECONDS
            status, task = await self._ask("take" + self.pool, {"lease_seconds": seconds})
            if status == 200:
                await self._treat(task, fate)
                continue
            assert (status, task["type"]) == (404, "/problems/no-free-task")
            if not task["leased"]:
                self._close()
                return
            await asyncio.sleep(0.2)

    async def _treat(self, task: dict[str, Any], fate: float) -> None:
        path, token = str(task["id"]), task["lease"]["token"]
        if fate > LATE:
            await asyncio.sleep(SHORT_SECONDS * 1.2)
            status, answer = await self._ask(
                f"{path}/complete", {"token": token, "result": "late"}
            )
            assert (status, answer["type"]) == (409, "/problems/lease-lost")
            self.late += 1
        elif fate > SKIP:
            status, _ = await self._ask(f"{path}/skip", {"token": token, "for_seconds": 1})
            assert status == 200
            self.skipped += 1
        else:
            result = uuid.uuid4().hex
            status, answer = await self._ask(
                f"{path}/complete", {"token": token, "result": result}
            )
            assert (status, answer["result"]) == (200, result)
            self.answered[task["id"]] = result

    async def _ask(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """An answer to a request under a key of its own, from whichever process gives one."""
        key = uuid.uuid4().hex
        while True:
            try:
                status, answer = await self._post(path, key, json.dumps(body).encode())
            except (OSError, asyncio.IncompleteReadError):
                self.broken += 1
                self._close()
                await asyncio.sleep(0.02)
                continue
            if status != 503 and (status != 409 or answer["type"] == "/problems/lease-lost"):
                return status, answer
            await asyncio.sleep(0.1)

    async def _post(self, path: str, key: str, body: bytes) -> tuple[int, Any]:
        if self._streams is None:
            self.port = RANDOM.choice(self.ports)
            self._streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self._streams
        request = (
            f"POST /api/tasks/{path} HTTP/1.1\r\nHost: localhost\r\n{self.headers}"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"Idempotency-Key: {key}\r\n\r\n"
        )
        writer.write(request.encode() + body)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return int(head.split(b" ", 2)[1]), json.loads(await reader.readexactly(length))

    def _close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def shared_space(instance: Instance, people: list[int], tasks: int) -> tuple[int, int]:
    """A space whose workers these are, and a queue of so many free tasks in it."""
    made = await instance.database.fetchrow(
        "INSERT INTO spaces (name, created_at) VALUES ('team', now()) RETURNING id"
    )
    assert made
    for user_id in people:
        await instance.database.fetch(
            "INSERT INTO members (space_id, user_id, role, created_at) "
            "VALUES ($1, $2, 'worker', now())",
            made["id"],
            user_id,
        )
    queue = await instance.database.fetchrow(
        "INSERT INTO queues (space_id, name, sequence, created_at) "
        "VALUES ($1, 'q', 1, now()) RETURNING id",
        made["id"],
    )
    assert queue
    await instance.database.fetch(
        """INSERT INTO tasks (owner_id, queue_id, meta, free, blob, format, media_type, size,
            sha256, sequence, created_at)
        SELECT $1, $2, '', true, 'tasks/' || n, 'PNG', 'image/png', 1, '', 1, now()
        FROM generate_series(1, $3) AS n""",
        made["id"],
        queue["id"],
        tasks,
    )
    return made["id"], queue["id"]


@pytest.mark.parametrize("tasks", [1_000, pytest.param(5_000, marks=pytest.mark.slow)])
async def test_each_task_is_answered_once(instance: Instance, tasks: int) -> None:
    """By 64 takers of a team, with skips, late answers and processes that die under them.

    They ask again under their key. No answer is lost, doubled or somebody else's, none that came
    late counts, and the counters agree.
    """
    people = [await instance.user() for _ in range(4)]
    space_id, queue_id = await shared_space(instance, [user_id for user_id, _ in people], tasks)
    takers = [
        Taker(instance.ports, *people[number % len(people)], f"?space={space_id}")
        for number in range(TAKERS)
    ]
    working = [asyncio.create_task(taker.work()) for taker in takers]
    starts: dict[int, asyncio.Task[None]] = {}

    def answering() -> set[int]:
        return {port for port in instance.ports if port not in starts or starts[port].done()}

    for kill in range(
        1, KILLS + 1
    ):  # each when its share of the tasks is answered, however fast that is
        share = kill * tasks / (KILLS + 1)
        await eventually(
            lambda share=share: (
                answering() and sum(len(taker.answered) for taker in takers) > share
            )
        )
        served = Counter(taker.port for taker in takers if taker.port in answering())
        busiest, _ = served.most_common(1)[0]
        starts[busiest] = asyncio.create_task(instance.kill_one(busiest))
    await asyncio.gather(*working, *starts.values())
    assert sum(taker.broken for taker in takers) >= KILLS
    assert sum(taker.late for taker in takers) > 0
    assert sum(taker.skipped for taker in takers) > 0
    acknowledged = {
        (task_id, taker.user_id, json.dumps(result))
        for taker in takers
        for task_id, result in taker.answered.items()
    }
    rows = await instance.database.fetch("SELECT task_id, user_id, result FROM answers")
    assert len(rows) == tasks
    assert {tuple(row) for row in rows} == acknowledged
    query = (
        "SELECT count(*) AS events, count(DISTINCT subject) AS subjects FROM outbox WHERE "
        "type = 'task.completed'"
    )
    assert dict((await instance.database.fetch(query))[0]) == {"events": tasks, "subjects": tasks}
    counted = await progress(instance.database, queue_id)
    assert (counted["free"], counted["taken"], counted["done"]) == (0, 0, tasks)
    by_person: Counter[int] = Counter()
    for taker in takers:
        by_person[taker.user_id] += len(taker.answered)
    assert {each["user_id"]: each["done"] for each in counted["people"]} == by_person


async def test_creating_and_deleting_survive_kills(instance: Instance) -> None:
    """Acknowledged tasks hold; every file belongs to a task or to one in the trash.

    The counters count what was made.
    """
    user_id, headers = await instance.user()
    kept: set[int] = set()
    unsure: set[int] = set()  # a deletion whose answer was lost with its process
    stop = asyncio.Event()

    async def work(client: httpx2.AsyncClient) -> None:
        while not stop.is_set():
            base = f"http://127.0.0.1:{RANDOM.choice(instance.ports)}/api/tasks"
            with contextlib.suppress(httpx2.HTTPError):
                files = {"image": picture() + bytes(RANDOM.choice([10, 2 << 20]))}
                made = await client.post(base, files=files, data={"meta": ""}, headers=headers)
                if made.status_code == 201:
                    kept.add(made.json()["id"])
            if kept and RANDOM.random() < 0.6:
                task_id = kept.pop()
                unsure.add(task_id)
                with contextlib.suppress(httpx2.HTTPError):
                    if (
                        await client.delete(f"{base}/{task_id}", headers=headers)
                    ).status_code == 204:
                        unsure.discard(task_id)

    async with httpx2.AsyncClient(timeout=PATIENCE_SECONDS) as client:
        workers = [asyncio.create_task(work(client)) for _ in range(6)]
        for kill in range(KILLS):
            await asyncio.sleep(RANDOM.uniform(0.2, 0.6))
            await instance.kill_one(instance.ports[kill % 2])
        stop.set()
        await asyncio.gather(*workers)
    rows = {row["id"] for row in await instance.database.fetch("SELECT id FROM tasks")}
    assert kept <= rows
    counters = (
        "SELECT tasks_created, (SELECT sum(created) FROM task_totals) AS total FROM users "
        "WHERE id = $1"
    )
    counted = (await instance.database.fetch(counters, user_id))[0]
    made = "SELECT count(*) AS made FROM outbox WHERE type = 'task.created'"
    assert (
        counted["tasks_created"]
        == counted["total"]
        == (await instance.database.fetch(made))[0]["made"]
    )
    await instance.sweep()
    report = await check(instance.database, instance.blobs, deep=True)
    assert report.agrees, report
    deleted = await instance.database.fetch("SELECT FROM trash")
    assert report.blobs == len(rows) + len(deleted)
    assert not list((instance.folder / "blobs").rglob("*.tmp"))


async def test_deleting_an_account_survives_kills(instance: Instance) -> None:
    """All of it is gone, or none of it is; when it is gone, so are, in the end, its files."""
    people = [await instance.user() for _ in range(8)]
    async with httpx2.AsyncClient(timeout=PATIENCE_SECONDS) as client:
        base = f"http://127.0.0.1:{instance.ports[0]}"
        for _, headers in people:
            for _ in range(5):
                await client.post(
                    f"{base}/api/tasks",
                    files={"image": picture()},
                    data={"meta": ""},
                    headers=headers,
                )
        leaving = [
            asyncio.create_task(client.delete(f"{base}/api/users/{user_id}", headers=headers))
            for user_id, headers in people
        ]
        await asyncio.sleep(RANDOM.uniform(0.005, 0.05))
        await instance.kill_one(instance.ports[0])
        answers = await asyncio.gather(*leaving, return_exceptions=True)
    left = {row["id"] for row in await instance.database.fetch("SELECT id FROM users")}
    for (user_id, _), answer in zip(people, answers, strict=True):
        assert not (
            isinstance(answer, httpx2.Response) and answer.status_code == 204 and user_id in left
        )
    query = "SELECT owner_id, count(*) AS tasks FROM tasks GROUP BY owner_id"
    assert {
        row["owner_id"]: row["tasks"] for row in await instance.database.fetch(query)
    } == dict.fromkeys(left, 5)
    total = await instance.database.fetchrow("SELECT sum(created) AS total FROM task_totals")
    assert total
    assert total["total"] == 5 * len(left)
    await instance.sweep()
    report = await check(instance.database, instance.blobs, deep=True)
    assert report.agrees, report
    assert report.blobs == 5 * len(left)


@pytest.mark.parametrize(
    ("path", "part", "table"),
    [("/api/tasks", "image", "tasks"), ("/api/upload/", "file", "files")],
)
async def test_a_repeat_after_a_kill_is_done_at_once(
    instance: Instance, path: str, part: str, table: str
) -> None:
    """The key of an upload is free as soon as the process that had it is dead.

    The clock has no part in it: the key's time is set an hour ahead.
    """
    _, headers = await instance.user()
    headers |= {"Idempotency-Key": uuid.uuid4().hex}
    first, second = instance.ports
    data = {"meta": ""} if part == "image" else {}
    files = {part: ("a.png", picture(), "image/png")}

    async def post(port: int) -> httpx2.Response:
        url = f"http://127.0.0.1:{port}{path}"
        return await client.post(url, files=files, data=data, headers=headers)

    async def held() -> bool:
        query = "SELECT 1 FROM pg_locks WHERE relation = $1::text::regclass AND NOT granted"
        return await instance.database.fetchrow(query, table) is not None

    async def done() -> httpx2.Response | None:
        answer = await post(second)
        return None if answer.status_code == 409 else answer

    async with httpx2.AsyncClient(timeout=PATIENCE_SECONDS) as client:
        async with instance.database.session() as session:
            await session.execute(text(f"LOCK TABLE {table} IN EXCLUSIVE MODE"))
            dying = asyncio.create_task(post(first))
            await eventually(held)
            await instance.kill_one(first)
            with pytest.raises(httpx2.HTTPError):
                await dying
        await instance.database.fetch(
            "UPDATE idempotency_keys SET locked_at = now() + interval '1 hour'"
        )
        answer = await eventually(done)
        assert answer is not None
        assert (answer.status_code, (await post(first)).json()) == (201, answer.json())
    assert len(await instance.database.fetch(f"SELECT id FROM {table}")) == 1


async def test_the_key_of_a_living_process_is_refused_elsewhere(instance: Instance) -> None:
    """While one process works under a key, another one answers 409; then it replays."""
    _, headers = await instance.user()
    headers |= {"Idempotency-Key": uuid.uuid4().hex}
    files = {"image": picture()}

    async def post(port: int) -> httpx2.Response:
        url = f"http://127.0.0.1:{port}/api/tasks"
        return await client.post(url, files=files, data={"meta": ""}, headers=headers)

    async def begun() -> bool:
        row = await instance.database.fetchrow("SELECT holder FROM idempotency_keys")
        return row is not None and row["holder"] is not None

    async with httpx2.AsyncClient(timeout=PATIENCE_SECONDS) as client:
        async with instance.database.session() as session:
            await session.execute(text("LOCK TABLE tasks IN EXCLUSIVE MODE"))
            working = asyncio.create_task(post(instance.ports[0]))
            await eventually(begun)
            assert (await post(instance.ports[1])).status_code == 409
        answer = await working
        again = await post(instance.ports[1])
    assert (answer.status_code, again.json()) == (201, answer.json())
    assert again.headers["idempotent-replayed"] == "true"
