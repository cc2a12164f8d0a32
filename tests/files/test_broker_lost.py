"""A worker whose broker is killed during a job stays, and takes the next job when it is back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from pydantic import SecretStr
from redis import Redis

from atelier import bootstrap
from atelier.files import django_setup
from atelier.up.engines import start_valkey
from tests.files.conftest import Person, celery
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from atelier.settings import Settings
    from atelier.up.engines import Engine

NOTICED = (
    "Couldn't ack",
    "Connection to broker lost",
)  # in the worker's log, with no place left and with one left


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Engine]:
    """A Valkey of the test's own; its successors on the same folder have the same URL."""
    engine = start_valkey(tmp_path / "valkey")
    yield engine
    engine.halt()


@pytest.fixture
def elsewhere(settings: Settings, broker: Engine) -> Iterator[Settings]:
    """This process, too, sends jobs there; what other tests left waiting takes no turn."""
    with psycopg.connect(bootstrap.database_url(settings)) as connection:
        connection.execute("UPDATE files SET status = 'failed' WHERE status = 'queued'")
    chosen = settings.model_copy(update={"redis_url": SecretStr(broker.url)})
    django_setup.configure(chosen)
    yield chosen
    django_setup.configure(settings)


def in_hand(broker: Engine) -> int:
    """Jobs that a worker has taken and not acknowledged."""
    with Redis.from_url(broker.url) as redis:
        return int(redis.hlen("unacked"))


def is_waited_for(settings: Settings) -> bool:
    """True if a process waits for a row: the job has not only come, it is being worked on."""
    waiting = """
        SELECT FROM pg_stat_activity
        WHERE wait_event_type = 'Lock' AND datname = current_database()
    """
    with psycopg.connect(bootstrap.database_url(settings)) as connection:
        return connection.execute(waiting).fetchone() is not None


@pytest.mark.parametrize("places", ["1", "2"])
async def test_a_worker_outlives_its_broker(
    ada: Person, elsewhere: Settings, broker: Engine, tmp_path: Path, places: str
) -> None:
    """A job that could not be acknowledged does not occupy a slot, even the last one."""
    log, record = tmp_path / "log", await ada.upload(b"a,b\n1,2\n")
    with psycopg.connect(bootstrap.database_url(elsewhere)) as holder:
        holder.execute("SELECT FROM files WHERE id = %s FOR UPDATE", (record["id"],))
        with celery(elsewhere, log, "--concurrency", places, "-n", "survivor@%h") as worker:
            until(lambda: in_hand(broker) == 1 and is_waited_for(elsewhere), log.read_text)
            broker.process.kill()
            broker.process.wait()
            holder.rollback()
            assert (await ada.settled(record))["status"] == "processed"
            until(lambda: any(words in log.read_text() for words in NOTICED), log.read_text)
            successor = start_valkey(tmp_path / "valkey")
            try:
                assert (await ada.settled(await ada.upload(b"a,b\n3,4\n")))[
                    "status"
                ] == "processed"
                assert worker.poll() is None, log.read_text()
            finally:
                successor.halt()
