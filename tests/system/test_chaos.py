"""Kill -9 at random while uploading: nothing acknowledged is lost or done twice.

Rows, blobs and events agree.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.system.instance import Instance, settled
from tests.waiting import PATIENCE_SECONDS, until

PHOTO = Path(__file__).parents[1] / "photos" / "waterfall_640x480.jpg"
UPLOADS = 300
KILLS = 15
VICTIMS = ("api", "processor", "archiver", "relay", "postgres", "valkey")
FILES = 40
SEED = 1


def upload(client: httpx2.Client, number: int) -> int:
    """Upload once, however often it must be tried: the idempotency key makes the tries one."""
    form = {"title": f"upload {number}", "description": f"Кадр {number}", "tags": "chaos"}
    files = {"file": (f"{number}.jpg", PHOTO.read_bytes(), "image/jpeg")}
    return acknowledged(client, "/api/images", data=form, files=files)


def acknowledged(client: httpx2.Client, path: str, **request: Any) -> int:
    """The id of what is made in the end, once."""
    headers = {"Idempotency-Key": str(uuid.uuid4())}

    def made() -> int:
        with suppress(httpx2.HTTPError):
            answer = client.post(path, headers=headers, timeout=PATIENCE_SECONDS / 4, **request)
            if answer.status_code == 201:
                return int(answer.json()["id"])
            assert answer.status_code in (409, 500, 503), answer.text
        time.sleep(0.2)
        return 0

    return until(made, "it was never acknowledged")


def upload_file(client: httpx2.Client, number: int) -> int:
    """The same for a file."""
    files = {"file": (f"{number}.csv", f"number\n{number}\n".encode(), "text/csv")}
    return acknowledged(client, "/api/upload/", files=files)


def unprocessed(client: httpx2.Client, ids: list[int]) -> list[dict[str, object]]:
    """The files that have not been looked into."""
    records = [client.get(f"/api/files/{number}/").json() for number in ids]
    return [record for record in records if not record["processed"]]


def kill_at_random(
    instance: Instance, stop: threading.Event, killed: list[str], victims: tuple[str, ...]
) -> None:
    """Kill one process of a random role or engine every second or so.

    Each of them at least once.
    """
    dice = random.Random(SEED)
    while len(killed) < KILLS and not stop.wait(dice.uniform(0.3, 1.2)):
        name = victims[len(killed)] if len(killed) < len(victims) else dice.choice(victims)
        pids = instance.pids(name)
        if pids:
            instance.slay(dice.choice(pids))
            killed.append(name)


def events_seen(instance: Instance) -> dict[str, set[int]]:
    """The sequences of every subject that the processor logged."""
    seen: dict[str, set[int]] = defaultdict(set)
    for line in (instance.data / "logs" / "processor.log").read_text().splitlines():
        if " event image." in line:
            _, _, event = line.partition(" event ")
            _, subject, sequence, *_ = event.split()
            seen[subject].add(int(sequence.removeprefix("#")))
    return seen


def assert_whole(instance: Instance, client: httpx2.Client, ids: list[int]) -> None:
    """Every acknowledged upload is final, and rows, blobs and events agree."""
    assert len(set(ids)) == UPLOADS
    records = [settled(client, image_id) for image_id in ids]
    assert {record["status"] for record in records} <= {"ready", "failed"}
    assert all(record["error"] for record in records if record["status"] == "failed")
    listed = [record["id"] for record in everything(client)]
    assert sorted(listed) == sorted(ids)
    until(
        lambda: instance.command("check", "--deep").returncode == 0, "rows and blobs do not agree"
    )
    until(
        lambda: not missing(instance, ids), lambda: f"events are missing: {missing(instance, ids)}"
    )


def missing(instance: Instance, ids: list[int]) -> dict[int, set[int]]:
    """The pictures that the subscriber did not see made and finished, without a gap.

    And what it saw of them.
    """
    seen = events_seen(instance)
    return {
        number: seen[f"images/{number}"] for number in ids if seen[f"images/{number}"] != {1, 2}
    }


def everything(client: httpx2.Client) -> list[dict[str, object]]:
    """The whole list, page by page."""
    found: list[dict[str, object]] = []
    url: str | None = "/api/images?limit=100"
    while url:
        answer = client.get(url)
        found += answer.json()
        url = answer.links.get("next", {}).get("url")
    return found


def upload_while(instance: Instance, client: httpx2.Client, disturb) -> list[int]:  # noqa: ANN001 - any callable
    """Upload with four clients while `disturb(stop)` runs; the acknowledged ids."""
    stop = threading.Event()
    trouble = threading.Thread(target=disturb, args=(stop,))
    trouble.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            ids = list(pool.map(lambda number: upload(client, number), range(UPLOADS)))
    finally:
        trouble.join(10 * PATIENCE_SECONDS)
        stop.set()
    until(instance.alive, "the instance did not come back")
    return ids


def test_killing_every_part_at_random_loses_nothing(instance: Instance) -> None:
    """300 uploads under 15 kill -9 of roles and engines all end final, once each.

    Files and events agree.
    """
    client, killed = instance.user(), list[str]()
    ids = upload_while(
        instance, client, lambda stop: kill_at_random(instance, stop, killed, VICTIMS)
    )
    assert len(killed) == KILLS
    assert_whole(instance, client, ids)


@pytest.mark.slow
def test_killing_the_files_worker_as_well_loses_no_file(instance: Instance) -> None:
    """The same with 40 files and their worker among the victims: every file is processed."""
    client, killed, victims = instance.user(), list[str](), (*VICTIMS, "files")
    with ThreadPoolExecutor(1) as pool:
        files = pool.submit(lambda: [upload_file(client, number) for number in range(FILES)])
        ids = upload_while(
            instance, client, lambda stop: kill_at_random(instance, stop, killed, victims)
        )
        assert killed[: len(victims)] == list(victims)
        assert len(set(files.result())) == FILES
    until(
        lambda: not unprocessed(client, files.result()),
        lambda: f"{unprocessed(client, files.result())} {instance.log.read_text()[-50_000:]}",
    )
    assert_whole(instance, client, ids)


def test_wiping_redis_in_the_middle_loses_nothing(instance: Instance) -> None:
    """FLUSHALL while jobs, events and cache are in it costs time, not work."""
    client = instance.user()

    def wipe(stop: threading.Event) -> None:
        for _ in range(3):
            stop.wait(1.5)
            instance.flush_redis()

    ids = upload_while(instance, client, wipe)
    assert_whole(instance, client, ids)


def test_killing_the_supervisor_leaves_no_orphan_and_the_next_start_recovers(
    instance: Instance,
) -> None:
    """After kill -9 of `atelier up` all its processes go, and a new start finds all work again."""
    client = instance.user()
    ids = [upload(client, number) for number in range(5)]
    family = instance.members()
    instance.kill()
    until(lambda: not instance.survivors(family), lambda: f"orphans: {instance.survivors(family)}")
    instance.start()
    instance.login(client, "ada@example.org")
    assert {settled(client, image_id)["status"] for image_id in ids} == {"ready"}
    assert instance.command("check").returncode == 0
