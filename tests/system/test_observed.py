"""What a running instance says of itself: metrics and health of every role, as the reference has them."""

from __future__ import annotations

import re
import socket
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from atelier.proto.books.v1 import books_pb2, books_pb2_grpc
from atelier.roles.up.preflight import MEASURED
from tests.system.conftest import running
from tests.system.instance import descendants, free_port, settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.system.instance import Instance

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "tests" / "photos" / "waterfall_640x480.jpg"
PATIENCE_SECONDS = 30


def free_row(length: int) -> int:
    """The first of some ports in a row that nobody listens on right now."""
    while True:
        first = free_port()
        try:
            for port in range(first, first + length):
                with closing(socket.create_server(("127.0.0.1", port))):
                    pass
        except OSError:
            continue
        return first


class Observed:
    """An instance and the ports of its roles."""

    def __init__(self, instance: Instance, first: int, grpc_port: int) -> None:
        self.instance = instance
        self.client = instance.user()
        self.grpc_port = grpc_port
        self.urls = {"api": instance.url} | {
            role: f"http://127.0.0.1:{first + place}" for place, role in enumerate(MEASURED)
        }

    def samples(self, role: str) -> dict[str, float]:
        """Every sample of a role, by its name and labels as they are written."""
        text = httpx2.get(f"{self.urls[role]}/metrics", timeout=10).text
        families = text_string_to_metric_families(text)
        return {
            f"{sample.name}{sorted(sample.labels.items()) if sample.labels else ''}": sample.value
            for family in families
            for sample in family.samples
        }

    def names(self) -> set[str]:
        """Every metric of every role, as the reference names them."""
        found = set()
        for url in self.urls.values():
            text = httpx2.get(f"{url}/metrics", timeout=10).text
            found |= set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
        return found

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for something that is expected."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.05)

    def status(self, role: str, path: str) -> int:
        """The status of an answer; 0 when nobody listens."""
        try:
            return httpx2.get(self.urls[role] + path, timeout=10).status_code
        except httpx2.HTTPError:
            return 0


@pytest.fixture(scope="module")
def observed() -> Iterator[Observed]:
    """One instance for all tests here."""
    first, grpc_port = free_row(len(MEASURED)), free_port()
    with running(metrics_port=str(first), grpc_port=str(grpc_port), reconcile_seconds="1") as instance:
        observed = Observed(instance, first, grpc_port)
        for role in MEASURED:
            observed.until(lambda role=role: observed.status(role, "/readyz") == 200)  # type: ignore[misc]
        yield observed


def busy(observed: Observed) -> None:
    """Everything that is measured happens once."""
    client = observed.client
    answer = client.post("/api/images", files={"file": ("a.jpg", PHOTO.read_bytes())}, data={"description": "seven"})
    image = answer.json()["id"]
    settled(client, image)
    client.get(f"/api/images/{image}/info")
    file = client.post("/api/upload/", files={"file": ("a.txt", b"one\ntwo\n")}).json()["id"]
    observed.until(lambda: client.get(f"/api/files/{file}/").json()["processed"])
    client.post("/api/books", json={"title": "Emma", "author": "Jane Austen", "publication_date": "1815-12-23"})
    metadata = (("authorization", client.headers["Authorization"]),)
    with grpc.insecure_channel(f"127.0.0.1:{observed.grpc_port}") as channel:
        books = books_pb2_grpc.BookServiceStub(channel)
        assert len(books.ListBooks(books_pb2.ListBooksRequest(), metadata=metadata, timeout=30).books) == 1
        watch = books.WatchBooks(books_pb2.WatchBooksRequest(), metadata=metadata, timeout=30)
        assert next(iter(watch)).change.book.title == "Emma"
        watch.cancel()
    (processor,) = observed.instance.pids("processor")
    observed.instance.slay(next(pid for pid, words in descendants(processor).items() if "-I" in words))
    observed.until(lambda: any("sandbox_ends" in name for name in observed.samples("processor")))


def test_every_role_is_ready_and_alive(observed: Observed) -> None:
    """Each on its port, in the documented order; the start screen shows which is where."""
    assert {role: observed.status(role, "/healthz") for role in observed.urls} == dict.fromkeys(observed.urls, 200)
    shown = observed.instance.log.read_text()
    assert f"relay:{observed.urls['relay'].rpartition(':')[2]}" in shown


def test_the_reference_lists_what_is_exposed(observed: Observed) -> None:
    """Both ways: nothing is exposed that the page does not explain, nothing explained that a busy instance lacks."""
    busy(observed)
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(atelier_\w+)`", page, re.MULTILINE))
    exposed = {name for name in observed.names() if not name.startswith("process_")}
    assert exposed == documented


def test_the_counts_are_those_of_the_work(observed: Observed) -> None:
    """One image, one file: counted once where it was done, though Celery's children do its work; nothing waits."""
    relay, files, archiver = (observed.samples(role) for role in ("relay", "files", "archiver"))
    assert archiver["atelier_images_total[('outcome', 'ready'), ('reason', '')]"] == 1
    assert observed.samples("processor")["atelier_jobs_total[('outcome', 'done'), ('queue', 'process')]"] == 1
    assert files["atelier_file_jobs_total[('kind', 'text'), ('outcome', 'processed')]"] == 1
    assert files["atelier_file_job_seconds_count[('kind', 'text')]"] == 1
    assert relay["atelier_relay_active"] == 1
    observed.until(lambda: observed.samples("relay")["atelier_outbox_unsent_events"] == 0)
    relay = observed.samples("relay")
    assert relay["atelier_relay_sent_events_total"] == relay["atelier_relay_confirmed_events_total"] > 0
    assert relay["atelier_unfinished[('kind', 'image')]"] == 0


def test_a_killed_files_worker_leaves_its_port(observed: Observed) -> None:
    """Its children held the socket, too: the next worker listens on the same port."""
    (worker,) = observed.instance.pids("INFO")
    observed.instance.slay(worker)
    observed.until(lambda: observed.status("files", "/readyz") == 0)
    observed.until(lambda: observed.status("files", "/readyz") == 200)
