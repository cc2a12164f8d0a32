"""Quotas: what one person may keep of pictures, tasks and files together, however it is sent."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

import httpx2
import psycopg
import pytest

from atelier.files import django_setup
from atelier.roles import api
from tests.api.operations import PHOTO
from tests.api.people import is_problem, sign_up
from tests.http.support import converse, served
from tests.waiting import PATIENCE_SECONDS, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from fastapi import FastAPI

    from atelier.settings import Settings
    from tests.api.people import Person

OBJECTS = 3
BYTES = 10 * len(PHOTO)
COUNTED = """
    SELECT count(*), coalesce(sum(size), 0) FROM (
        SELECT size, owner_id FROM images UNION ALL SELECT size, owner_id FROM tasks
        UNION ALL SELECT size, owner_id FROM files UNION ALL SELECT size, owner_id FROM trash
    ) AS kept WHERE owner_id = %s
"""
WAITING = """
    SELECT count(*) > 0 FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND datname = current_database()
"""
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "image": ("/api/images", {"files": {"file": ("a.jpg", PHOTO)}}),
    "task": ("/api/tasks", {"files": {"image": ("a.jpg", PHOTO)}, "data": {"meta": "m"}}),
    "base64": (
        "/api/tasks",
        {"json": {"image": base64.b64encode(PHOTO).decode(), "meta": "m"}},
    ),
    "file": ("/api/upload", {"files": {"file": ("a.jpg", PHOTO)}}),
}
PATHS = {
    "image": "/api/images",
    "task": "/api/tasks",
    "base64": "/api/tasks",
    "file": "/api/files",
}


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    """Those of the other modules, with quotas."""
    return settings.model_copy(update={"quota_objects": OBJECTS, "quota_bytes": BYTES})


@pytest.fixture
def database(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the test's own, to look on and to stand in the way."""
    assert settings.database_url
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        yield connection


async def send(
    client: httpx2.AsyncClient, person: Person, way: str, **headers: str
) -> httpx2.Response:
    """Upload a photograph in one of the ways."""
    path, body = WAYS[way]
    return await client.post(path, headers=person.headers | headers, **body)


async def delete(client: httpx2.AsyncClient, person: Person, way: str, number: int) -> None:
    """Delete what was uploaded."""
    answer = await client.delete(f"{PATHS[way]}/{number}", headers=person.headers)
    assert answer.status_code == 204, answer.text


def kept(connection: psycopg.Connection[Any], person: Person) -> tuple[Any, Any]:
    """What is counted of somebody, and what there is."""
    usage = "SELECT objects, bytes FROM owner_usage WHERE owner_id = %s"
    counted = connection.execute(usage, [person.id]).fetchone()
    real = connection.execute(COUNTED, [person.id]).fetchone()
    connection.rollback()
    return counted, real


@pytest.mark.parametrize("way", WAYS)
async def test_a_full_quota_refuses_until_something_is_purged(
    client: httpx2.AsyncClient, bob: Person, way: str, database: psycopg.Connection[Any]
) -> None:
    """Pictures, tasks, files and what is in the trash count together; the answer says how much."""
    first = await send(client, bob, way)
    others = [await send(client, bob, other) for other in ("image", "file")]
    assert {answer.status_code for answer in (first, *others)} == {201}
    refused = await send(client, bob, way)
    assert is_problem(refused, 403)
    assert refused.json()["type"] == "/problems/quota-exceeded"
    assert "3 of the 3 pictures, tasks and files" in refused.json()["detail"]
    await delete(client, bob, way, first.json()["id"])
    assert is_problem(await send(client, bob, way), 403)
    emptied = await client.delete("/api/trash", headers=bob.headers)
    assert emptied.json() == {"purged": 1}
    assert (await send(client, bob, way)).status_code == 201
    counted, real = kept(database, bob)
    assert counted == real == (OBJECTS, OBJECTS * len(PHOTO))


async def test_bytes_are_counted_too(
    client: httpx2.AsyncClient, bob: Person, database: psycopg.Connection[Any]
) -> None:
    """Exactly as many as the quota are taken, and not one more."""
    rest = BYTES - len(PHOTO)
    assert (await send(client, bob, "image")).status_code == 201
    for size, status in ((rest + 1, 403), (rest, 201)):
        files = {"file": ("a.txt", b"x" * size)}
        answer = await client.post("/api/upload", headers=bob.headers, files=files)
        assert answer.status_code == status, answer.text
        if status == 403:
            assert f"There are {len(PHOTO)} of the {BYTES} bytes" in answer.json()["detail"]
    counted, real = kept(database, bob)
    assert counted == real == (2, BYTES)


async def test_of_many_at_once_only_as_many_as_fit_are_taken(
    client: httpx2.AsyncClient, bob: Person, database: psycopg.Connection[Any]
) -> None:
    """Two uploads cannot both have the last place, whichever edges they come by."""
    answers = await asyncio.gather(*(send(client, bob, way) for way in (*WAYS, *WAYS, *WAYS)))
    assert sorted(answer.status_code for answer in answers) == [201] * OBJECTS + [403] * 9
    counted, real = kept(database, bob)
    assert counted == real == (OBJECTS, OBJECTS * len(PHOTO))


@pytest.mark.parametrize("way", WAYS)
async def test_a_repeated_request_does_not_count_twice(
    client: httpx2.AsyncClient, bob: Person, way: str, database: psycopg.Connection[Any]
) -> None:
    """And is answered as before though the quota is full by then."""
    key = {"Idempotency-Key": f"{way}-{bob.id}"}
    first = await send(client, bob, way, **key)
    for _ in range(OBJECTS - 1):
        assert (await send(client, bob, "file")).status_code == 201
    again = await send(client, bob, way, **key)
    assert again.status_code == 201
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.content == first.content
    assert kept(database, bob)[0] == (OBJECTS, OBJECTS * len(PHOTO))


@pytest.mark.parametrize("way", ["image", "base64"])
async def test_a_full_quota_refuses_before_the_body_is_read(
    client: httpx2.AsyncClient, bob: Person, way: str, port: int
) -> None:
    """By the length in the head: not a byte of the body is sent."""
    assert (await send(client, bob, "file")).status_code == 201
    kind = "application/json" if way == "base64" else "multipart/form-data; boundary=b"
    head = (
        f"POST {WAYS[way][0]} HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {bob.token}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {40 * 1024 * 1024}\r\n"
        "Connection: close\r\n\r\n"
    )
    answer = await converse(port, head.encode())
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"quota-exceeded" in answer


async def test_counting_begins_with_what_is_there(
    client: httpx2.AsyncClient, bob: Person, database: psycopg.Connection[Any]
) -> None:
    """Also while some of it is being deleted: that is not counted, nor left in the count."""
    made = [(await send(client, bob, way)).json()["id"] for way in ("image", "file")]
    database.execute("DELETE FROM owner_usage WHERE owner_id = %s", [bob.id])
    database.commit()
    database.execute("DELETE FROM images WHERE id = %s", [made[0]])
    uploading = asyncio.create_task(send(client, bob, "task"))
    await eventually(lambda: waits(database))
    database.commit()
    assert (await uploading).status_code == 201
    counted, real = kept(database, bob)
    assert counted == real == (2, 2 * len(PHOTO))


def waits(connection: psycopg.Connection[Any]) -> bool:
    """Whether somebody waits for a lock."""
    (found,) = connection.execute(WAITING).fetchone() or (False,)
    return bool(found)


@pytest.mark.parametrize("way", ["image", "task", "file"])
async def test_an_account_can_go_while_something_of_it_is_deleted(
    client: httpx2.AsyncClient, bob: Person, way: str, database: psycopg.Connection[Any]
) -> None:
    """The two do not wait for each other, and nothing stays counted."""
    made = {way: (await send(client, bob, way)).json()["id"] for way in ("image", "task", "file")}
    table, number = f"{way}s", made[way]
    database.execute(f"SELECT id FROM {table} WHERE id = %s FOR UPDATE", [number])
    leaving = asyncio.create_task(
        client.delete(f"/api/users/{bob.id}", headers=bob.headers, timeout=PATIENCE_SECONDS)
    )
    await eventually(lambda: waits(database))
    database.execute(f"DELETE FROM {table} WHERE id = %s", [number])
    database.commit()
    assert (await leaving).status_code == 204
    assert kept(database, bob) == (None, (0, 0))


@pytest.fixture
async def unlimited(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    """The application without quotas, on the same database."""
    app: FastAPI = api.build(
        settings.model_copy(update={"quota_objects": None, "quota_bytes": None})
    )
    async with (
        served(app) as port,
        httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS
        ) as client,
    ):
        yield client
    django_setup.configure(settings)


async def test_without_quotas_nothing_is_counted(
    unlimited: httpx2.AsyncClient, database: psycopg.Connection[Any]
) -> None:
    """Any number is taken, and the table of what people keep is not written."""
    person = await sign_up(unlimited)
    for way in WAYS:
        assert (await send(unlimited, person, way)).status_code == 201
    assert kept(database, person) == (None, (len(WAYS), len(WAYS) * len(PHOTO)))
