"""From upload to result through a real worker process, on Redis and on RabbitMQ."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import kombu
import psycopg
import pytest

from atelier import bootstrap
from atelier.blobs.directory import DirectoryBlobs
from atelier.blobs.mark import written
from atelier.files import django_setup, jobs
from atelier.files.celery_app import QUEUE, queue
from atelier.files.celery_app import app as celery_app
from tests.files import samples
from tests.files.conftest import PHOTOS, Person, celery, make
from tests.system.instance import descendants
from tests.waiting import gone, until

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    import httpx2

    from atelier.settings import Settings

FILES = {
    "image": (PHOTOS / "waterfall_640x480.jpg").read_bytes(),
    "text": "строка раз\nстрока два\n".encode("cp1251"),
    "csv": b"a,b\n1,2\n3,4\n",
    "json": b'{"a": [1, 2]}',
    "pdf": samples.pdf(),
    "archive": samples.docx(),
    "other": bytes(range(256)),
}


@pytest.mark.parametrize("kind", FILES)
async def test_each_kind_is_processed(
    ada: Person, worker: subprocess.Popen[bytes], kind: str
) -> None:
    """The record ends processed, of its kind, with a result."""
    record = await ada.settled(await ada.upload(FILES[kind]))
    assert (record["status"], record["processed"], record["kind"]) == ("processed", True, kind)
    assert record["result"]
    assert (record["thumbnail"] is not None) == (kind == "image")
    if record["thumbnail"]:
        assert (await ada.client.get(record["thumbnail"])).content[:3] == b"\xff\xd8\xff"


async def test_what_cannot_be_processed_can_be_retried(
    ada: Person, worker: subprocess.Popen[bytes]
) -> None:
    """It fails with a reason; a retry has it looked at again, and it fails again."""
    failed = await ada.settled(await ada.upload(samples.zip_bomb()))
    assert (failed["status"], failed["processed"], failed["error"]["reason"]) == (
        "failed",
        False,
        "archive-bomb",
    )
    again = await ada.client.post(f"{failed['url']}retry")
    assert again.json()["status"] == "queued"
    assert (await ada.settled(again.json()))["error"]["reason"] == "archive-bomb"


WAITING = """
    SELECT count(*) FROM pg_stat_activity WHERE %s = any(pg_blocking_pids(pid))
"""


def lines(settings: Settings, file_id: int) -> list[str]:
    """The worker's log lines about a file: level and message of each."""
    log = (settings.data / "logs" / "files.log").read_text()
    named = [line for line in log.splitlines() if re.search(rf"\bfile {file_id}\b", line)]
    return [re.sub(r"^\S+ (\w+) \S+ \[[^]]*\]", r"\1", line) for line in named]


async def test_the_log_says_of_each_file_what_became_of_it(
    ada: Person, worker: subprocess.Popen[bytes], settings: Settings
) -> None:
    """One line for a job, found by the file's id; of a failure reason and detail of the record."""
    good = await ada.settled(await ada.upload(FILES["pdf"]))
    until(lambda: lines(settings, good["id"]))
    (line,) = lines(settings, good["id"])
    assert re.fullmatch(rf"INFO file {good['id']} processed: pdf in \d+\.\d\d s", line)
    bad = await ada.settled(await ada.upload(samples.zip_bomb()))
    until(lambda: lines(settings, bad["id"]))
    detail = bad["error"]["detail"]
    (line,) = lines(settings, bad["id"])
    assert line == f"WARNING file {bad['id']} failed: archive-bomb: {detail}"
    assert "Task atelier.files.process" not in (settings.data / "logs" / "files.log").read_text()


async def test_a_worker_takes_no_jobs_with_a_store_of_others(
    settings: Settings, tmp_path: Path
) -> None:
    """A worker whose store is not mounted ends with a reason instead of failing every file."""
    await DirectoryBlobs(tmp_path / "blobs").set_mark(
        written("00000000-0000-0000-0000-000000000000")
    )
    others = settings.model_copy(update={"blobs": str(tmp_path / "blobs")})
    with (
        pytest.raises(AssertionError, match="the blobs are not this database's"),
        celery(others, tmp_path / "log"),
    ):
        pass


async def test_a_killed_worker_is_replaced_and_its_children_end(
    ada: Person, settings: Settings, tmp_path: Path
) -> None:
    """Kill -9 of a pool process costs one attempt.

    Kill -9 of the worker leaves no process behind.
    """
    with celery(settings, tmp_path / "log", "--concurrency", "1", "-n", "mortal@%h") as process:
        (child,) = [pid for pid, words in descendants(process.pid).items() if "celery" in words]
        os.kill(child, signal.SIGKILL)
        assert (await ada.settled(await ada.upload(FILES["text"])))["status"] == "processed"
        family = descendants(process.pid)
        process.kill()
        process.wait()
        gone(*family)


def test_a_job_of_a_killed_process_is_named(
    worker: subprocess.Popen[bytes], settings: Settings
) -> None:
    """The log has the file's id and what killed the process; the job comes again and is done."""
    django_setup.configure(settings)
    file = make(settings)
    url = bootstrap.database_url(settings)
    with psycopg.connect(url) as holder, psycopg.connect(url, autocommit=True) as watcher:
        holder.execute("SELECT 1 FROM files WHERE id = %s FOR UPDATE", (file.pk,))
        assert jobs.offer(file)
        until(lambda: watcher.execute(WAITING, (holder.info.backend_pid,)).fetchone() == (1,))
        for pid in [pid for pid, words in descendants(worker.pid).items() if "celery" in words]:
            os.kill(pid, signal.SIGKILL)
        until(lambda: lines(settings, file.pk))
    until(lambda: len(lines(settings, file.pk)) > 1)
    django_setup.disconnect()
    first, second, *_ = lines(settings, file.pk)
    ended = "its job ended without a result: WorkerLostError("
    assert first.startswith(f"WARNING file {file.pk}: {ended}")
    assert "SIGKILL" in first
    assert second.startswith(f"INFO file {file.pk} processed: text in ")


@pytest.mark.rabbitmq
async def test_on_rabbitmq_jobs_go_by_a_quorum_queue(
    app: httpx2.ASGITransport, settings: Settings, amqp_url: str, tmp_path: Path, database_url: str
) -> None:
    """With an AMQP URL the broker is RabbitMQ: upload, job, result.

    The reconciler can count what waits.
    """
    on_rabbit = settings.model_copy(
        update={"amqp_url": type(settings)(amqp_url=amqp_url).amqp_url}
    )
    on_rabbit.model_fields_set.add("amqp_url")
    ada = await Person(app).sign_in(settings)
    django_setup.configure(on_rabbit)
    try:
        with celery_app.connection_for_write() as connection:
            assert connection.transport.driver_type == "amqp"
            queue(on_rabbit)(connection.default_channel).declare()
            connection.default_channel.queue_purge(QUEUE)
        record = await ada.upload(FILES["csv"])
        assert jobs.waiting() == 1
        with celery(on_rabbit, tmp_path / "log", "--concurrency", "1", "-n", "rabbit@%h"):
            assert (await ada.settled(record))["status"] == "processed"
        assert "delayed" not in (tmp_path / "log").read_text()  # no queues for later jobs
        with kombu.Connection(
            amqp_url
        ) as connection:  # the same declaration, else RabbitMQ refuses it
            queue(on_rabbit)(connection.default_channel).declare()
            connection.default_channel.queue_delete(QUEUE)
    finally:
        django_setup.configure(settings)
        await ada.client.aclose()
