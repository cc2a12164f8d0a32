"""Owners have their turn: one person's many slow files do not hold all workers."""

from __future__ import annotations

import gzip
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from django.db import connection

from atelier.files import celery_app, django_setup, jobs, service, turns
from atelier.files.inspectors import Inspection
from atelier.files.models import File
from tests.files.conftest import celery, make, owner
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from atelier.settings import Settings

FOUND = Inspection("text", "text/plain", {"lines": 1})
SLOW = gzip.compress(bytes(32 * 1024 * 1024))  # some tenths of a second; zeros are padding


@pytest.fixture(autouse=True)
def _django(settings: Settings) -> Iterator[None]:
    """Django on this instance, nobody at work and nothing at the broker."""
    django_setup.configure(settings)
    empty(settings)
    yield
    empty(settings)
    django_setup.disconnect()


def empty(settings: Settings) -> None:
    """No rows and no jobs."""
    File.objects.all().delete()
    turns._last[0] = 0
    with celery_app.app.connection_for_write() as broker:
        celery_app.queue(settings)(broker.default_channel).declare()
        broker.default_channel.queue_purge(celery_app.QUEUE)


def owned(settings: Settings, *counts: int) -> list[list[File]]:
    """So many files of each of several owners, in the order in which they came."""
    made = [[make(settings) for _ in range(count)] for count in counts]
    for files in made:
        File.objects.filter(pk__in=[file.pk for file in files]).update(owner_id=files[0].owner_id)
    return made


def taken(files: list[File]) -> list[int]:
    """The owners of the files that a worker takes for the jobs of these files."""
    owners = []
    for file in files:
        found = turns.take(file.pk, 1, again=False).file
        owners.append(0 if found is None else found.owner_id)
    return owners


def test_workers_are_shared_by_those_who_wait(settings: Settings) -> None:
    """Whatever the order of the jobs, the next file is that of who has the fewest at work."""
    many, few = owned(settings, 8, 3)
    assert Counter(taken(many[:6])) == {many[0].owner_id: 3, few[0].owner_id: 3}


def test_who_is_alone_has_every_worker(settings: Settings) -> None:
    """Nothing is kept free for nobody."""
    (many,) = owned(settings, 5)
    assert taken(many) == [many[0].owner_id] * 5


def test_one_worker_serves_owners_in_turn(settings: Settings) -> None:
    """A second file of one owner comes after the first ones of all, without losing its job."""
    many, other, third = owned(settings, 4, 1, 1)
    for file in many:
        jobs.run(file.pk, 1, lambda _: FOUND, again=False)
    done = File.objects.filter(status="processed").order_by("updated_at")
    assert [file.owner_id for file in done] == [
        many[0].owner_id,
        other[0].owner_id,
        third[0].owner_id,
        many[0].owner_id,
    ]
    assert jobs.waiting() == 2  # of the two that gave their turn away


def test_a_file_at_work_is_not_taken_twice(settings: Settings) -> None:
    """Its own job finds it taken, unless the job comes again: then its worker may be dead."""
    ((file,),) = owned(settings, 1)
    assert turns.take(file.pk, 1, again=False).file is not None
    assert turns.take(file.pk, 1, again=False).file is None
    assert turns.take(file.pk, 1, again=True).file is not None
    service.fail(file.pk, 1, "x", "y")
    service.retry(owner(file), file.pk, lambda _: True)
    assert turns.take(file.pk, 2, again=False).file is not None


def test_whose_turn_it_is_costs_the_same_with_any_backlog(settings: Settings) -> None:
    """With 20,000 files of one owner before it, no statement reads more than some rows."""
    ((file,), (other,)) = owned(settings, 1, 1)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO files (owner_id, file, name, content_type, kind, size, sha256, processed,"
            " status, version, sequence, attempts, uploaded_at, updated_at, offered_at)"
            " SELECT owner_id, 'x/' || n, name, content_type, kind, size, sha256, false, 'queued',"
            " 1, 1, 0, now(), now(), now() FROM files, generate_series(1, 20000) n WHERE id = %s",
            [file.pk],
        )
        cursor.execute("ANALYZE files")
        values = {"id": other.pk, "version": 1, "limit": 60, "last": 0}
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS) {turns._TURN}", values)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Seq Scan" not in plan, plan


def test_a_hundred_slow_files_leave_others_their_turn(settings: Settings, tmp_path: Path) -> None:
    """Real workers: another's files are done while most of those sent before them still wait."""
    many = [make(settings, SLOW + bytes(number)) for number in range(100)]
    quick = [make(settings, b"hello %d" % number) for number in range(4)]
    for files in (many, quick):
        File.objects.filter(pk__in=[file.pk for file in files]).update(owner_id=files[0].owner_id)
    for file in (*many, *quick):
        assert jobs.offer(file)
    queued = File.objects.filter(status="queued")
    with celery(settings, tmp_path / "log", "--concurrency", "2", "-n", "fair@%h"):
        until(lambda: not queued.filter(owner_id=quick[0].owner_id).exists())
        assert queued.filter(owner_id=many[0].owner_id).count() > len(many) // 2
    assert {file.status for file in File.objects.filter(owner_id=quick[0].owner_id)} == {
        "processed"
    }
