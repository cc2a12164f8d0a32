"""A process killed by -9 while it deletes a space leaves all of it or nothing."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import TYPE_CHECKING

import httpx2
import psycopg

from atelier.commands.check import check
from tests.spaces.conftest import PHOTO
from tests.spaces.test_spaces import PUT_IN
from tests.waiting import PATIENCE_SECONDS, eventually

if TYPE_CHECKING:
    from tests.tasks.test_killed import Instance

WAITING = """
    SELECT 1 FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND datname = current_database()
"""


async def test_a_deletion_that_is_cut_off_deletes_nothing_and_a_finished_one_everything(
    instance: Instance,
) -> None:
    """Cut off after the pictures and tasks, amid the files; finished by the other process.

    That one is killed before any blob is removed: the collector does it. Rows and blobs agree.
    """
    user_id, headers = await instance.user()
    async with (
        a_client(instance.ports[0], headers) as first,
        a_client(instance.ports[1], headers) as client,
    ):
        space_id = (await client.post("/api/spaces", json={"name": "n"})).json()["id"]
        kept = await client.post("/api/upload", files={"file": ("a.jpg", PHOTO)})
        assert kept.status_code == 201
        for statement in PUT_IN:
            for _ in range(20):
                key = await a_blob(instance)
                await instance.database.fetch(statement, space_id, user_id, key)
        await cut_off(instance, first, space_id)
        assert (await client.get(f"/api/spaces/{space_id}")).status_code == 200
        assert await counted(instance, space_id) == [20, 40, 20]
        assert (await check(instance.database, instance.blobs)).agrees
        assert (await client.delete(f"/api/spaces/{space_id}")).status_code == 204
        instance.processes[instance.ports[1]].kill()
    assert await counted(instance, space_id) == [0, 0, 0]
    await instance.sweep()
    assert (await check(instance.database, instance.blobs)).agrees
    assert len([stat async for stat in instance.blobs.list("")]) == 1  # what is in another space


async def a_blob(instance: Instance) -> str:
    """The key of a new blob, which has a row at once."""
    key = f"tests/{uuid.uuid4().hex}"
    draft = instance.folder / "draft"
    draft.write_bytes(b"a blob")
    await instance.blobs.put(key, draft)
    return key


def a_client(port: int, headers: dict[str, str]) -> httpx2.AsyncClient:
    """A client of one process."""
    base = f"http://127.0.0.1:{port}"
    return httpx2.AsyncClient(base_url=base, headers=headers, timeout=PATIENCE_SECONDS)


async def cut_off(instance: Instance, client: httpx2.AsyncClient, space_id: int) -> None:
    """Kill the process that deletes a space while it waits for one of its files."""
    with psycopg.connect(instance.database.url) as other:
        other.execute("SELECT id FROM files WHERE owner_id = %s LIMIT 1 FOR UPDATE", [space_id])
        asked = asyncio.create_task(client.delete(f"/api/spaces/{space_id}"))
        await eventually(lambda: instance.database.fetch(WAITING))
        instance.processes[instance.ports[0]].kill()
        with contextlib.suppress(httpx2.HTTPError):
            await asked


async def counted(instance: Instance, space_id: int) -> list[int]:
    """The pictures, tasks and files of a space."""
    found = []
    for table in ("images", "tasks", "files"):
        query = f"SELECT count(*) FROM {table} WHERE owner_id = $1"
        row = await instance.database.fetchrow(query, space_id)
        assert row
        found.append(row["count"])
    return found
