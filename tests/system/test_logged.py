"""The log files of a running instance: the outcome of each request and job, and no noise."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import orjson
import pytest

from atelier.proto.books.v1 import books_pb2, books_pb2_grpc
from tests.ports import free_port
from tests.system.conftest import running
from tests.system.instance import PASSWORD, settled
from tests.waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.instance import Instance

PHOTO = Path(__file__).parents[1] / "photos" / "waterfall_640x480.jpg"


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    """A first start."""
    with running(grpc_port=str(free_port())) as instance:
        yield instance


def line(instance: Instance, role: str, words: str) -> str:
    """The line of a role's log file that has these words, without its time; waits for it."""
    path = instance.data / "logs" / f"{role}.log"

    def entries() -> list[str]:
        lines = path.read_text().splitlines() if path.exists() else []
        return [entry for entry in lines if words in entry]

    (found,) = until(entries, lambda: path.exists() and path.read_text())
    return found.split(" ", 1)[1]


def test_why_a_picture_failed_is_in_the_log(instance: Instance) -> None:
    """Of the archiver: its id, the reason and the detail of its record; not a byte of it."""
    client = instance.user()
    damaged = PHOTO.read_bytes()[:20_000]
    made = client.post("/api/images", files={"file": ("a.jpg", damaged)}).json()
    error = settled(client, made["id"])["error"]
    said = line(instance, "archiver", f"image {made['id']} ")
    assert said.startswith("WARNING atelier.images.archive [")
    assert said.endswith(f"] image {made['id']} failed: {error['reason']}: {error['detail']}")


def test_why_a_file_failed_is_in_the_log(instance: Instance) -> None:
    """Of the files worker."""
    client = instance.user()
    made = client.post("/api/upload/", files={"file": ("a.pdf", b"%PDF-1.7\nnothing")}).json()
    said = line(instance, "files", f"file {made['id']} ")
    error = client.get(made["url"]).json()["error"]
    assert said.startswith("WARNING atelier.files.jobs [")
    assert said.endswith(f"] file {made['id']} failed: {error['reason']}: {error['detail']}")


def test_a_call_is_in_the_access_log(instance: Instance) -> None:
    """Under the id that the client chose."""
    client = instance.user()
    token, user = client.headers["Authorization"], client.get("/api/users/me").json()["id"]
    metadata = (("authorization", token), ("x-request-id", "call-17"))
    port = orjson.loads((instance.data / "engines.json").read_bytes())["grpc_port"]
    with closing(grpc.insecure_channel(f"127.0.0.1:{port}")) as channel:
        books = books_pb2_grpc.BookServiceStub(channel)
        books.ListBooks(books_pb2.ListBooksRequest(), metadata=metadata, timeout=PATIENCE_SECONDS)
    method = "/atelier.books.v1.BookService/ListBooks"
    said = line(instance, "grpc", "[call-17")
    expected = f"INFO atelier.access [call-17] 127.0.0.1 {user} gRPC {method} OK "
    assert re.fullmatch(re.escape(expected) + r"\d+\.\d ms", said)
    assert token.removeprefix("Bearer ") not in (instance.data / "logs" / "grpc.log").read_text()


def test_a_first_start_says_what_was_migrated(instance: Instance) -> None:
    """On the console of `atelier up`."""
    shown = instance.log.read_text()
    said = r"^migrate +\| database: empty -> \d{4} \(\d+ migrations\)$"
    assert re.search(said, shown, re.MULTILINE)
    assert "migrate is done" in shown


def test_a_first_start_logs_no_errors(instance: Instance) -> None:
    """Neither the roles nor their engines, and no password of anybody."""
    folder = instance.data / "logs"
    wanted = {"api.log", "archiver.log", "files.log", "grpc.log", "postgres.log"}
    until(lambda: wanted <= {path.name for path in folder.glob("*.log")})
    logs = {path.name: path.read_text() for path in folder.glob("*.log")}
    logs |= {path.name: path.read_text() for path in instance.data.glob("*.log")}
    lines = [(name, each) for name, text in logs.items() for each in text.splitlines()]
    errors = re.compile(r" (ERROR|CRITICAL) |ERROR: |FATAL: ")
    assert [each for each in lines if errors.search(each[1])] == []
    assert [name for name, text in logs.items() if PASSWORD in text] == []
