"""A running instance observed: metrics and health of every role, and traces across them."""

from __future__ import annotations

import gzip
import re
import secrets
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import grpc
import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from atelier.proto.books.v1 import books_pb2, books_pb2_grpc
from atelier.up.preflight import MEASURED
from tests.ports import free_ports
from tests.system.conftest import running
from tests.system.instance import descendants, settled
from tests.waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.instance import Instance

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "tests" / "photos" / "waterfall_640x480.jpg"


class Span(NamedTuple):
    """One span as the collector got it: ids in hex."""

    service: str
    name: str
    id: str
    parent: str
    trace: str


class Collector(ThreadingHTTPServer):
    """A small OTLP collector: takes protobuf over HTTP, remembers every span."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        super().__init__(("127.0.0.1", 0), Receiver)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self) -> None:
        """No more."""
        self.shutdown()
        self.server_close()


class Receiver(BaseHTTPRequestHandler):
    """One export."""

    server: Collector

    def do_POST(self) -> None:
        """Read the spans of each process."""
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = next(
                a.value.string_value
                for a in resource.resource.attributes
                if a.key == "service.name"
            )
            for scope in resource.scope_spans:
                for span in scope.spans:
                    ids = span.span_id.hex(), span.parent_span_id.hex(), span.trace_id.hex()
                    self.server.spans.append(Span(service, span.name, *ids))
        self.send_response(200 if self.path == "/v1/traces" else 404)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Observed:
    """An instance, the ports of its roles and the collector of its spans."""

    def __init__(
        self, instance: Instance, first: int, grpc_port: int, collector: Collector
    ) -> None:
        self.collector = collector
        self.instance = instance
        self.client = instance.user()
        self.grpc_port = grpc_port
        self.urls = {
            role: f"http://127.0.0.1:{first + place}" for place, role in enumerate(MEASURED)
        }

    def samples(self, role: str) -> dict[str, float]:
        """Every sample of a role, by its name and labels as they are written."""
        text = httpx2.get(f"{self.urls[role]}/metrics", timeout=PATIENCE_SECONDS).text
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
            text = httpx2.get(f"{url}/metrics", timeout=PATIENCE_SECONDS).text
            found |= set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
        return found

    def status(self, role: str, path: str) -> int:
        """The status of an answer; 0 when the connection is refused."""
        try:
            return httpx2.get(self.urls[role] + path, timeout=PATIENCE_SECONDS).status_code
        except httpx2.HTTPError:
            return 0


@pytest.fixture(scope="module")
def observed() -> Iterator[Observed]:
    """One instance for all tests here."""
    first, *_, grpc_port = free_ports(len(MEASURED) + 1)
    collector = Collector()
    otlp_url = f"http://127.0.0.1:{collector.server_port}"
    ports = {"metrics_port": str(first), "grpc_port": str(grpc_port)}
    with closing(collector), running(**ports, otlp_url=otlp_url) as instance:
        observed = Observed(instance, first, grpc_port, collector)
        for role in MEASURED:
            until(lambda role=role: observed.status(role, "/readyz") == 200)  # type: ignore[misc]
        yield observed


def busy(observed: Observed) -> None:
    """Everything that is measured happens once."""
    client = observed.client
    answer = client.post(
        "/api/images", files={"file": ("a.jpg", PHOTO.read_bytes())}, data={"description": "seven"}
    )
    image = answer.json()["id"]
    settled(client, image)
    client.get(f"/api/images/{image}/info")
    file = client.post("/api/upload/", files={"file": ("a.txt", b"one\ntwo\n")}).json()["id"]
    until(lambda: client.get(f"/api/files/{file}/").json()["processed"])
    client.post(
        "/api/books",
        json={"title": "Emma", "author": "Jane Austen", "publication_date": "1815-12-23"},
    )
    with client.stream("GET", "/api/events") as stream:
        next(stream.iter_bytes())
    metadata = (("authorization", client.headers["Authorization"]),)
    with grpc.insecure_channel(f"127.0.0.1:{observed.grpc_port}") as channel:
        books = books_pb2_grpc.BookServiceStub(channel)
        how = {"metadata": metadata, "timeout": PATIENCE_SECONDS}
        assert len(books.ListBooks(books_pb2.ListBooksRequest(), **how).books) == 1
        watch = books.WatchBooks(books_pb2.WatchBooksRequest(), **how)
        change = next(
            answer.change for answer in watch if answer.HasField("change")
        )  # marks may come before it
        assert change.book.title == "Emma"
        watch.cancel()
    (processor,) = observed.instance.pids("processor")
    observed.instance.slay(
        next(pid for pid, words in descendants(processor).items() if "-I" in words)
    )
    until(lambda: any("sandbox_ends" in name for name in observed.samples("processor")))
    until(lambda: any("streams_ended_total" in name for name in observed.samples("api")))


def test_every_role_is_ready_and_alive(observed: Observed) -> None:
    """Each on its port, in the documented order; the start screen shows which is where."""
    assert {role: observed.status(role, "/healthz") for role in observed.urls} == dict.fromkeys(
        observed.urls, 200
    )
    shown = f"relay:{observed.urls['relay'].rpartition(':')[2]}"
    until(lambda: shown in observed.instance.log.read_text())


def test_the_reference_lists_what_is_exposed(observed: Observed) -> None:
    """Each exposed metric is documented, and each documented one is exposed by a busy instance."""
    busy(observed)
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(atelier_\w+)`", page, re.MULTILINE))
    exposed = {name for name in observed.names() if not name.startswith("process_")}
    assert exposed == documented


def test_the_counts_are_those_of_the_work(observed: Observed) -> None:
    """One image, one file: counted once where it was done, though Celery's children do its work.

    Nothing waits.
    """
    for role, name in (
        ("archiver", "atelier_images_total[('outcome', 'ready'), ('reason', '')]"),
        ("processor", "atelier_jobs_total[('outcome', 'done'), ('queue', 'process')]"),
        ("files", "atelier_file_jobs_total[('kind', 'text'), ('outcome', 'processed')]"),
        ("files", "atelier_file_job_seconds_count[('kind', 'text')]"),
        ("relay", "atelier_relay_active"),
    ):
        until(
            lambda role=role, name=name: observed.samples(role).get(name) == 1, f"{name} is not 1"
        )
    until(lambda: observed.samples("relay")["atelier_outbox_unsent_events"] == 0)
    relay = observed.samples("relay")
    assert (
        relay["atelier_relay_sent_events_total"]
        == relay["atelier_relay_confirmed_events_total"]
        > 0
    )
    assert relay["atelier_unfinished[('kind', 'image')]"] == 0


def path(spans: list[Span], end: Span) -> list[str]:
    """The services and names from the root of a trace to one of its spans."""
    by_id = {span.id: span for span in spans}
    found = [end]
    while found[-1].parent in by_id:
        found.append(by_id[found[-1].parent])
    return [f"{span.service.removeprefix('atelier-')} {span.name}" for span in reversed(found)]


def require(observed: Observed, trace: str, *way: str) -> None:
    """The last of these spans lies below the one before it, and so on.

    Each process sends its own when it likes.
    """

    def seen() -> list[list[str]]:
        spans = [span for span in observed.collector.spans if span.trace == trace]
        return [path(spans, span) for span in spans]

    until(lambda: list(way) in seen(), seen)


def client_span() -> tuple[str, dict[str, str]]:
    """A trace that the client has begun, and the header that says so."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return trace, {"traceparent": f"00-{trace}-{span}-01"}


def test_one_upload_is_one_trace(observed: Observed) -> None:
    """A trace leads from the client through queues, outbox and bus to the subscriber."""
    trace, header = client_span()
    files = {"file": ("a.jpg", PHOTO.read_bytes())}
    assert observed.client.post("/api/images", files=files, headers=header).status_code == 201
    processed = "api POST /api/images", "processor process"
    require(observed, trace, *processed, "processor render")
    announced = (
        "archiver store",
        "relay publish image.processed",
        "processor handle image.processed",
    )
    require(observed, trace, *processed, *announced)
    created = "relay publish image.created", "processor handle image.created"
    require(observed, trace, "api POST /api/images", *created)
    log = observed.instance.data / "logs" / "processor.log"
    assert [
        line
        for line in log.read_text().splitlines()
        if trace in line and "event image.processed" in line
    ]


def test_a_book_is_traced_into_the_log_of_grpc(observed: Observed) -> None:
    """REST, outbox, bus, the gRPC service's log: one trace, whose id the log line carries."""
    trace, header = client_span()
    book = {"title": "Persuasion", "author": "Jane Austen", "publication_date": "1817-12-20"}
    assert observed.client.post("/api/books", json=book, headers=header).status_code == 201
    require(
        observed,
        trace,
        "api POST /api/books",
        "relay publish book.created",
        "grpc handle book.created",
    )


def test_a_file_is_traced_into_celery(observed: Observed) -> None:
    """Django's request, Celery's job in a child process, and the event of its end."""
    trace, header = client_span()
    answer = observed.client.post(
        "/api/upload/", files={"file": ("b.txt", b"one")}, headers=header
    )
    assert answer.status_code == 201
    request = "api POST /api/upload"
    require(observed, trace, request, "files inspect file", "relay publish file.processed")


def test_a_killed_files_worker_leaves_its_port(observed: Observed) -> None:
    """Its children held the socket, too: the next worker listens on the same port."""
    (worker,) = observed.instance.pids("INFO")
    observed.instance.slay(worker)
    until(lambda: [pid for pid in observed.instance.pids("INFO") if pid != worker])
    until(lambda: observed.status("files", "/readyz") == 200)
