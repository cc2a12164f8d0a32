"""What is there once an instance has come to rest: in the API, the database, Redis and on disk."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx2
import orjson
from redis import Redis

from atelier.blobs import garbage
from atelier.blobs.directory import INCOMING, MARK, DirectoryBlobs
from atelier.bootstrap import BULK, PROCESS, STORE
from atelier.commands.check import ROWS
from atelier.database import Database
from atelier.queue.stream import GROUP
from atelier.wire import spool
from tests.chaos.victims import belonging, victims

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.instance import Instance

TABLES = ("images", "files", "tasks", "books")
LISTS = {table: f"/api/{table}{'/' if table == 'files' else ''}" for table in TABLES}
CONTENTS = {
    "images": "/api/images/{}/renditions/original",
    "files": "/api/files/{}/content",
    "tasks": "/api/tasks/{}/image",
}
COLUMNS = {
    "images": "id, title AS name, description AS words, status, error::text, sequence, sha256",
    "files": "id, name, '' AS words, status, error::text, sequence, sha256",
    "tasks": "id, meta AS name, '' AS words, free, leased_until, sequence, sha256",
    "books": "id, title AS name, author AS words, sequence, '' AS sha256",
}
AGED = "UPDATE blob_garbage SET after = clock_timestamp() - interval '1 second'"
SOON_SECONDS = 60  # a lease that ends by then was a short one
STALE_SECONDS = 2 * 86_400  # what a killed process left is swept by then
SAMPLE = 150  # things of each kind whose bytes are fetched
FILES_QUEUE = "atelier.files"
UNDONE = {
    "pictures that are still queued": "SELECT count(*) FROM images WHERE status = 'queued'",
    "files that are still queued": "SELECT count(*) FROM files WHERE status = 'queued'",
    "events that were not sent": "SELECT count(*) FROM outbox WHERE position IS NULL",
    "leases that have ended": "SELECT count(*) FROM tasks WHERE leased_until < "
    f"clock_timestamp() + interval '{SOON_SECONDS} seconds'",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the outbox."""

    id: str
    type: str
    subject: str
    sequence: int
    position: int | None
    reason: str


@dataclass
class Evidence:
    """The findings, as plain values: to look at, and to compare."""

    rows: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)
    """By table and id."""
    shown: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)
    """The records that the API lists, by collection and id."""
    contents: dict[tuple[str, int], str] = field(default_factory=dict)
    """Digests of what the API serves, of a sample; of what it does not serve, the status."""
    tasks_created: int = 0
    log: list[Entry] = field(default_factory=list)
    """The outbox in the order of writing."""
    position: int = 0
    """The last that the relay has given out."""
    blobs: set[str] = field(default_factory=set)
    referenced: set[str] = field(default_factory=set)
    strays: list[str] = field(default_factory=list)
    """Files that belong to nothing: of spools, of killed writers, of temporary folders."""
    queues: dict[str, int] = field(default_factory=dict)
    """Jobs that are waiting or running, and dead events, by queue."""
    check: str = ""
    """What `atelier check --deep` says, where it is not content."""
    orphans: dict[int, list[str]] = field(default_factory=dict)
    """Processes of the instance that its supervisor does not know."""


def address(instance: Instance, name: str) -> str:
    """The URL of an embedded engine."""
    found: str = orjson.loads((instance.data / "engines.json").read_bytes())[name]
    return found


async def undone(database: Database) -> dict[str, int]:
    """What an instance that has come to rest has none of."""
    found = {name: (await database.fetch(query))[0]["count"] for name, query in UNDONE.items()}
    return {name: count for name, count in found.items() if count}


def queues(instance: Instance) -> dict[str, int]:
    """The jobs in Redis that are waiting or running; none left out.

    A files worker that was killed leaves its job "unacked" until the visibility timeout: that is
    not counted, for its row is what says whether it was done.
    """
    with Redis.from_url(address(instance, "redis_url")) as redis:
        found = {f"{name} (waiting)": int(redis.xlen(name)) for name in (PROCESS, BULK, STORE)}
        for name in (PROCESS, BULK, STORE):
            if redis.exists(name) and redis.xinfo_groups(name):
                found[f"{name} (taken)"] = int(redis.xpending(name, GROUP)["pending"])
        found["files (waiting)"] = int(redis.llen(FILES_QUEUE))
        found["dead events"] = int(redis.xlen("atelier.events:dead"))
    return {name: count for name, count in found.items() if count}


async def gather(instance: Instance, client: httpx2.Client, database: Database) -> Evidence:
    """Look everywhere, having swept what the instance sweeps by itself after an hour or a day."""
    await _sweep(instance, database)
    found = Evidence()
    for table in TABLES:
        query = f"SELECT {COLUMNS[table]} FROM {table} ORDER BY id"
        found.rows[table] = {row["id"]: dict(row) for row in await database.fetch(query)}
        found.shown[table] = {record["id"]: record for record in listed(client, LISTS[table])}
    found.contents = _contents(client, found)
    found.tasks_created = client.get("/api/tasks/total_created").json()["total_tasks_created"]
    found.log = await _log(database)
    found.position = (await database.fetch("SELECT position FROM relay_position"))[0]["position"]
    found.referenced = {row["key"] for row in await database.fetch(f"SELECT key FROM ({ROWS}) r")}
    found.blobs, found.strays = _files(instance)
    found.queues = queues(instance)
    checked = instance.command("check", "--deep")
    found.check = (checked.stdout + checked.stderr) if checked.returncode else ""
    assert instance.process is not None
    known = {pid for pids in victims(instance.process.pid).values() for pid in pids}
    found.orphans = {
        pid: words for pid, words in belonging(instance.folder).items() if pid not in known
    }
    return found


def listed(client: httpx2.Client, path: str) -> list[dict[str, Any]]:
    """A whole list of the API, page by page."""
    found: list[dict[str, Any]] = []
    url: str | None = f"{path}?limit=100"
    while url:
        answer = client.get(url)
        found += answer.json()
        url = answer.links.get("next", {}).get("url")
    return found


async def _sweep(instance: Instance, database: Database) -> None:
    """Collect garbage and what killed processes left, as if days had passed."""
    store = DirectoryBlobs(instance.data / "blobs")
    await database.fetch(AGED)
    while await garbage.collect(database, store):
        await database.fetch(f"{AGED} WHERE NOT intent")
    long_ago = time.time() - STALE_SECONDS
    for path in (instance.data / "blobs" / INCOMING).iterdir():
        os.utime(path, (long_ago, long_ago))
    spool.sweep(instance.data / "blobs" / INCOMING)
    await store.sweep_temporary(timedelta(days=1))


def _contents(client: httpx2.Client, found: Evidence) -> dict[tuple[str, int], str]:
    digests = {}
    for table, path in CONTENTS.items():
        for number in list(found.shown[table])[:SAMPLE]:
            answer = client.get(path.format(number))
            digest = hashlib.sha256(answer.content).hexdigest()
            digests[table, number] = digest if answer.status_code == 200 else answer.text
    return digests


async def _log(database: Database) -> list[Entry]:
    rows = await database.fetch(
        "SELECT event_id, type, subject, sequence, position, coalesce(data ->> 'reason', '') "
        "AS reason FROM outbox ORDER BY id"
    )
    return [Entry(str(row["event_id"]), *list(row.values())[1:]) for row in rows]


def _files(instance: Instance) -> tuple[set[str], list[str]]:
    """The keys of the blobs on disk, and the files that are none."""
    root = instance.data / "blobs"
    inside = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    hidden = {name for name in inside if name.startswith(".")}
    blobs = inside - hidden
    strays = [name for name in hidden if name != MARK]
    return blobs, sorted(strays + _temporary(instance.folder / "tmp"))


def _temporary(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file()] if folder.exists() else []
