"""`atelier jobs`: what waits, on Celery's queue too, and what cannot be asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kombu import Connection

from atelier.commands.doctor import main as examine
from atelier.commands.jobs import main
from atelier.files.celery_app import QUEUE, broker_url
from atelier.settings import load

if TYPE_CHECKING:
    from pathlib import Path

    from redis.asyncio import Redis

    from atelier.settings import Settings


@pytest.fixture
def settings(
    tmp_path: Path, redis_url: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Of a Redis that is empty."""
    del redis
    monkeypatch.chdir(tmp_path)
    return load(redis_url=redis_url, port=0, grpc_port=0)


def send_jobs(settings: Settings, count: int) -> None:
    """Jobs for files that no worker takes."""
    with Connection(broker_url(settings)) as broker, broker.SimpleQueue(QUEUE) as queue:
        for number in range(count):
            queue.put({"number": number})


@pytest.mark.parametrize("count", [0, 3])
def test_jobs_for_files_are_counted(
    settings: Settings, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    """By `atelier jobs`, alone and among the others, and by `atelier doctor`."""
    send_jobs(settings, count)
    assert main(settings, None, resend=False, purge=False) == 0
    assert capsys.readouterr().out.splitlines() == [
        "process: 0 waiting",
        "bulk: 0 waiting",
        "store: 0 waiting",
        f"files: {count} waiting",
    ]
    assert main(settings, "files", resend=False, purge=False) == 0
    assert capsys.readouterr().out.splitlines() == [f"files: {count} waiting"]
    examine(settings)
    assert f"files      {count} jobs wait for a worker, on Redis" in capsys.readouterr().out


@pytest.mark.rabbitmq
def test_rabbitmq_is_asked_where_it_is_set(
    settings: Settings, amqp_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also before any worker has made the queue there."""
    there = settings.model_copy(update={"amqp_url": load(amqp_url=amqp_url).amqp_url})
    assert main(there, "files", resend=False, purge=False) == 0
    assert capsys.readouterr().out.startswith("files: ")


@pytest.mark.parametrize(
    ("name", "resend", "known"),
    [("nope", False, "store, files"), ("files", True, "process, bulk, store")],
)
def test_a_queue_that_there_is_not(
    settings: Settings, capsys: pytest.CaptureFixture[str], *, name: str, resend: bool, known: str
) -> None:
    """It is a usage error: files have no dead letters, their rows hold the outcome."""
    assert main(settings, name, resend=resend, purge=False) == 2
    assert capsys.readouterr().out.rstrip().endswith(known)
