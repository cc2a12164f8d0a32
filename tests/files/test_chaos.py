"""Despite kill -9 of workers and a wiped broker, each of 200 files ends, if only with a reason."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.files import samples
from tests.system.instance import Instance, descendants
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2

PHOTO = (Path(__file__).parents[1] / "photos" / "waterfall_640x480.jpg").read_bytes()
CONTENTS = [
    PHOTO,
    b"some words\n" * 100,
    b"a,b\n1,2\n",
    b'{"a": 1}',
    samples.pdf(),
    samples.docx(),
    b"%PDF-broken",
]
FILES = 200
KILLS = 4
WIPES = (1, 3)  # after which kills the broker is wiped


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    """A running instance whose reconciler is quick."""
    running = Instance(
        tmp_path, reconcile_seconds="2", file_workers="2", job_attempts="6", decode_seconds="120"
    )
    running.start()
    yield running
    running.close()


def workers(instance: Instance) -> list[int]:
    """The worker's processes: the main one first, then its pool."""
    for pid, words in instance.members().items():
        if "atelier.files" in words and "worker" in words:
            return [
                pid,
                *(child for child, line in descendants(pid).items() if "atelier.files" in line),
            ]
    return []


def disturb(instance: Instance, done: threading.Event, killed: list[int]) -> None:
    """Kill workers, now the main process, now one of its pool, and wipe the broker twice."""
    dice = random.Random(7)
    while len(killed) < KILLS and not done.wait(1.0):
        if found := workers(instance):
            instance.slay(found[0] if len(killed) % 2 else dice.choice(found))
            killed.append(found[0])
            if len(killed) in WIPES:
                instance.flush_redis()


def settled(client: httpx2.Client, url: str) -> dict[str, Any]:
    """The record once it is final."""

    def final() -> dict[str, Any] | None:
        record: dict[str, Any] = client.get(url).json()
        return record if record["status"] != "queued" else None

    return until(final)


def test_killed_workers_and_a_wiped_broker_lose_no_file(instance: Instance) -> None:
    """200 uploads: each ends once, processed or failed with a reason.

    Rows, blobs and events agree.
    """
    client, done, killed = instance.user(), threading.Event(), list[int]()
    trouble = threading.Thread(target=disturb, args=(instance, done, killed))
    trouble.start()

    def upload(number: int) -> str:
        answer = client.post(
            "/api/upload/", files={"file": (f"{number}", CONTENTS[number % len(CONTENTS)])}
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["url"])

    with ThreadPoolExecutor(2) as pool:
        urls = list(pool.map(upload, range(FILES)))
    trouble.join()
    records = [settled(client, url) for url in urls]
    assert len(killed) == KILLS
    assert len({record["id"] for record in records}) == FILES
    failed = [record for record in records if record["status"] == "failed"]
    assert all(record["error"]["reason"] for record in failed)
    assert {record["error"]["reason"] for record in failed} <= {"bad-pdf", "not-processed"}
    assert sum(record["processed"] for record in records) == FILES - len(failed)
    check = instance.command("check", "--deep")
    assert check.returncode == 0, check.stdout
