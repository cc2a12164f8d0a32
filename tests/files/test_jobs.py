"""Jobs change a row at most once, give up in the end, and are sent again when lost."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone
from kombu.exceptions import OperationalError

from atelier import bootstrap
from atelier.errors import Conflict, Invalid, NotFound, Unavailable, Unsupported
from atelier.files import celery_app, django_setup, garbage, inspector, jobs, service, turns
from atelier.files.inspectors import Inspection, Picture
from atelier.files.models import File, Outbox
from atelier.sandbox.failures import DecodeCrashed, DecodeFailed, DecodeMemory, DecodeTimeout
from atelier.up.engines import start_valkey
from tests.files.conftest import make, owner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from atelier.settings import Settings

FOUND = Inspection("text", "text/plain", {"lines": 1})


@pytest.fixture(autouse=True)
def _django(settings: Settings) -> Iterator[None]:
    """Django on this instance, in this thread; nothing waits at the broker and no row is open."""
    django_setup.configure(settings)
    File.objects.all().delete()
    with celery_app.app.connection_for_write() as connection:
        celery_app.queue(settings)(connection.default_channel).declare()
        connection.default_channel.queue_purge(celery_app.QUEUE)
    yield
    django_setup.disconnect()


@pytest.fixture
def file(settings: Settings) -> File:
    """A queued file of a new user."""
    return make(settings)


def fresh(file: File) -> File:
    """The row as it is now."""
    found: File = File.objects.get(pk=file.pk)
    return found


def raising(error: Exception) -> Callable[[File], Inspection]:
    """A way of looking that fails."""

    def inspect(_: File) -> Inspection:
        raise error

    return inspect


def events(file: File) -> list[tuple[str, int]]:
    """Announcements about a file."""
    return [
        (e.type, e.sequence)
        for e in Outbox.objects.filter(subject=f"files/{file.pk}").order_by("sequence")
    ]


def test_a_result_is_stored_once(file: File) -> None:
    """A job that comes twice changes nothing the second time."""
    jobs.run(file.pk, 1, lambda _: FOUND)
    done = fresh(file)
    assert (done.status, done.processed, done.result, done.attempts) == (
        "processed",
        True,
        {"lines": 1},
        1,
    )
    jobs.run(file.pk, 1, raising(AssertionError("not looked at again")))
    assert not service.finish(file.pk, 1, FOUND)
    assert not service.fail(file.pk, 1, "late", "too late")
    assert events(file) == [("file.uploaded", 1), ("file.processed", 2)]


def test_a_job_of_an_older_version_changes_nothing(file: File) -> None:
    """A worker that was thought dead comes back after the file was retried."""
    service.fail(file.pk, 1, "x", "y")
    service.retry(owner(file), file.pk, lambda _: True)
    jobs.run(file.pk, 1, raising(AssertionError("the old version is not looked at")))
    assert not service.finish(file.pk, 1, FOUND)
    jobs.run(file.pk, 2, lambda _: FOUND)
    assert fresh(file).status == "processed"
    assert events(file) == [("file.uploaded", 1), ("file.failed", 2), ("file.processed", 3)]


def test_a_file_that_is_gone_needs_no_job(file: File) -> None:
    """Deleted before or during its job, a file leaves its thumbnail on the list of garbage."""
    key = []

    def delete_meanwhile(found: File) -> Inspection:
        service.delete(owner(found), found.pk, lambda _: True)
        return Inspection("image", "image/png", {}, Picture(b"t", "image/png", 1, 1))

    original = default_storage.save
    try:
        default_storage.save = lambda name, content: key.append(name) or original(name, content)
        jobs.run(file.pk, 1, delete_meanwhile)
    finally:
        del default_storage.save
    jobs.run(file.pk, 1, raising(AssertionError("there is nothing to look at")))
    with pytest.raises(NotFound):
        service.find(owner(file), file.pk)
    garbage.claim(key)  # raises unless it is listed


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Unsupported("no such thing", slug="bad-thing"), "bad-thing"),
        (Invalid("a bomb", slug="archive-bomb"), "archive-bomb"),
        (NotFound("gone"), "content-missing"),
    ],
)
def test_a_file_that_cannot_be_processed_fails_with_a_reason(
    file: File, error: Exception, reason: str
) -> None:
    """At once: another attempt would find the same."""
    jobs.run(file.pk, 1, raising(error))
    failed = fresh(file)
    assert (failed.status, failed.processed, failed.error["reason"]) == ("failed", False, reason)
    assert failed.error["detail"]


@pytest.mark.parametrize(
    ("failure", "attempts"),
    [
        (DecodeTimeout("Decoding took longer than 5 s."), 2),
        (DecodeMemory("Decoding needs more than 9 MiB of memory."), 2),
        (DecodeCrashed("The decoder crashed (SIGSEGV)."), 4),
        (DecodeFailed("The decoder failed on this content."), 4),
    ],
)
def test_a_decoder_that_fails_is_tried_again_and_then_given_up(
    file: File, failure: DecodeFailed, attempts: int
) -> None:
    """After a limit of time or memory once more, since the next try meets it, too."""
    for attempt in range(attempts):
        assert fresh(file).status == "queued", attempt
        jobs.run(file.pk, 1, raising(failure))
    assert fresh(file).error == {"reason": failure.slug, "detail": failure.detail}
    assert jobs.waiting() == attempts - 1


def test_a_file_that_kills_its_worker_is_given_up(file: File, settings: Settings) -> None:
    """Attempts that never end count from their beginning."""
    for _ in range(settings.job_attempts):
        assert turns.take(file.pk, 1, again=True).file is not None
    jobs.run(file.pk, 1, raising(AssertionError("not looked at any more")))
    assert fresh(file).error["reason"] == "not-processed"


def test_what_is_unavailable_is_left_to_the_reconciler(file: File) -> None:
    """The row stays queued and no job is sent."""
    jobs.run(file.pk, 1, raising(Unavailable("no decoder")))
    assert fresh(file).status == "queued"
    assert jobs.waiting() == 0


def test_retrying_what_has_not_failed_is_a_conflict(file: File) -> None:
    """Nothing changes."""
    with pytest.raises(Conflict):
        service.retry(owner(file), file.pk, lambda _: True)
    assert fresh(file).version == 1


class TestReoffer:
    """The reconciler."""

    def stale(self, settings: Settings, count: int) -> list[File]:
        """Files that were offered long ago, the first one longest."""
        made = [make(settings) for _ in range(count)]
        for number, file in enumerate(made):
            moment = timezone.now() - timedelta(seconds=settings.reconcile_seconds + 100 - number)
            File.objects.filter(pk=file.pk).update(offered_at=moment)
        return made

    def test_offers_what_the_broker_has_lost(self, settings: Settings) -> None:
        """Once per round, and not again before its time."""
        self.stale(settings, 3)
        assert jobs.reoffer() == 3
        assert jobs.waiting() == 3
        assert jobs.reoffer() == 0

    def test_leaves_jobs_that_wait_for_their_turn(self, settings: Settings) -> None:
        """With two jobs at the broker, only the oldest of three unfinished rows is offered."""
        files = self.stale(settings, 3)
        for file in files[1:]:
            assert jobs.offer(file)
        assert jobs.reoffer() == 1
        assert fresh(files[0]).offered_at > fresh(files[1]).offered_at

    def test_leaves_what_is_final_and_what_is_new(self, settings: Settings) -> None:
        """Neither a failed row nor one that has just been offered."""
        (failed,) = self.stale(settings, 1)
        service.fail(failed.pk, 1, "x", "y")
        make(settings)
        assert jobs.reoffer() == 0

    def test_two_reconcilers_offer_each_file_once(self, settings: Settings) -> None:
        """Rows are locked and skipped."""
        self.stale(settings, 20)
        offered: list[int] = []
        threads = [
            threading.Thread(target=lambda: offered.append(jobs.reoffer())) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(offered) <= 20 + 20  # the broker's count may be older than another's sending
        assert jobs.waiting() == sum(offered) >= 20


def test_a_broker_that_is_away_is_no_error(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    """`offer` says that it was not sent."""
    monkeypatch.setitem(celery_app.app.conf, "broker_url", "redis://127.0.0.1:1/0")
    celery_app.app._after_fork()
    try:
        assert not jobs.offer(file)
        with pytest.raises(OperationalError):
            jobs.reoffer()
    finally:
        monkeypatch.undo()
        celery_app.app._after_fork()


class TestInspector:
    """Inspection in a job."""

    @pytest.fixture(autouse=True)
    def _open(self, settings: Settings) -> Iterator[None]:
        """Decoders as in a worker."""
        inspector.start(settings)
        yield
        inspector.stop()

    def test_whole_files_and_heads(self, settings: Settings) -> None:
        """A text goes in whole; of an unknown type only the head, with size and digest."""
        assert inspector.inspect(make(settings)).result["characters"] == 5
        strange = make(settings, bytes(range(256)) * 1000)
        found = inspector.inspect(strange)
        assert (found.kind, found.result["size"], found.result["sha256"]) == (
            "other",
            256_000,
            strange.sha256,
        )

    def test_large_files(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        """A large text goes in piece by piece; another kind that is too large is refused."""
        monkeypatch.setattr(inspector, "WHOLE_BYTES", 1000)
        monkeypatch.setattr(inspector, "PIECE_BYTES", 700)
        assert inspector.inspect(make(settings, b"word word\n" * 300)).result["words"] == 600
        with pytest.raises(inspector.TooLargeToInspect):
            inspector.inspect(make(settings, b"[" + b"1," * 1000 + b"1]"))

    def test_content_that_is_shorter_than_its_row_says(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is missing."""
        monkeypatch.setattr(inspector, "WHOLE_BYTES", 1000)
        file = make(settings, b"word word\n" * 300)
        file.size += 1
        with pytest.raises(NotFound):
            inspector.inspect(file)

    def test_after_it_is_shut(self, file: File) -> None:
        """Nothing can be looked at, which is not the file's fault."""
        inspector.stop()
        with pytest.raises(Unavailable):
            inspector.inspect(file)


class TestStorage:
    """Django's storage over the port."""

    def test_does_what_django_expects(self, file: File, settings: Settings) -> None:
        """Open, size, time, path, exists, delete."""
        name = file.file.name
        assert default_storage.exists(name)
        assert default_storage.size(name) == 5
        assert default_storage.path(name) == str(settings.blobs_folder.absolute() / name)
        assert abs(default_storage.get_modified_time(name) - timezone.now()) < timedelta(minutes=1)
        with file.file.open() as content:
            assert content.read() == b"hello"
        default_storage.delete(name)
        assert not default_storage.exists(name)
        with pytest.raises(NotFound):
            default_storage.open(name)

    def test_works_where_blobs_are_elsewhere(
        self, file: File, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without a path of this machine the content is fetched."""
        blobs: Any = django_setup.context().blobs
        monkeypatch.setattr(django_setup.context(), "blobs", Elsewhere(blobs))
        with default_storage.open(file.file.name) as content:
            assert content.read() == b"hello"
        with pytest.raises(NotImplementedError):
            default_storage.path(file.file.name)

    @pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a b", ".hidden"])
    def test_takes_keys_only(self, name: str) -> None:
        """Nothing that could be a path of somebody's choice."""
        with pytest.raises(Exception, match=r"not a blob key|Detected path traversal"):
            default_storage.save(name, None)


class Elsewhere:
    """A store without paths."""

    def __init__(self, blobs: Any) -> None:
        self._blobs = blobs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)

    def path(self, key: str) -> None:
        """Nowhere on this machine."""


@pytest.mark.parametrize(
    ("given", "spelled"),
    [
        ("unix:///run/valkey.sock", "redis+socket:///run/valkey.sock?virtual_host=0"),
        ("unix:///run/valkey.sock?db=3", "redis+socket:///run/valkey.sock?virtual_host=3"),
        ("unix:///my%20run/v.sock", "redis+socket:///my%20run/v.sock?virtual_host=0"),
        ("unix:///my run/v.sock", "redis+socket:///my%20run/v.sock?virtual_host=0"),
        ("unix://me:pw@/run/v.sock", "redis+socket://me:pw@/run/v.sock?virtual_host=0"),
        ("redis://host:6379/2", "redis://host:6379/2"),
        ("redis://host:6379?db=4", "redis://host:6379/4"),
        ("rediss://u:p@host", "rediss://u:p@host/0"),
    ],
)
def test_broker_urls(settings: Settings, given: str, spelled: str) -> None:
    """As kombu spells them."""
    chosen = type(settings)(data=settings.data, redis_url=given)
    assert celery_app.broker_url(chosen) == spelled
    rabbit = type(settings)(data=settings.data, redis_url=given, amqp_url="amqp://a:b@c/")
    assert celery_app.broker_url(rabbit) == "amqp://a:b@c/"


def test_a_migration_is_not_missing() -> None:
    """Models and migrations agree."""
    from django.core.management import call_command

    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_database_urls(settings: Settings) -> None:
    """Sockets and options go to the driver; the time of a statement is bounded."""
    made = django_setup.database(
        "postgresql://u:p@/name?host=/run/pg&sslmode=disable&options=-c%20jit%3Doff"
    )
    assert (made["HOST"], made["USER"], made["PASSWORD"], made["NAME"]) == (
        "/run/pg",
        "u",
        "p",
        "name",
    )
    assert made["OPTIONS"]["sslmode"] == "disable"
    assert made["OPTIONS"]["options"].startswith("-c jit=off -c statement_timeout=")
    assert bootstrap.database_url(settings)


@pytest.mark.parametrize("name", ["a b", "quote'\"", "percent%20", "кухня"])
def test_the_broker_is_found_in_any_folder(settings: Settings, tmp_path: Path, name: str) -> None:
    """Spaces, quotes, other alphabets in the path of the socket of a real server."""
    engine = start_valkey(tmp_path / name)
    try:
        celery_app.ask(
            celery_app.broker_url(type(settings)(data=settings.data, redis_url=engine.url))
        )
    finally:
        engine.stop()
