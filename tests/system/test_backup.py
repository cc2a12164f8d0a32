"""An instance is backed up under load and restored elsewhere with its events and consumers."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import httpx2
import orjson
import psycopg
import pytest

from atelier.proto.books.v1 import books_pb2 as pb
from atelier.proto.books.v1.books_pb2_grpc import BookServiceStub
from tests.ports import free_port
from tests.system.conftest import running
from tests.waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from tests.system.instance import Instance

PHOTO = Path(__file__).parents[1] / "photos" / "waterfall_640x480.jpg"
SECRET = "the same secret here and there, long enough"
BOOK = {"title": "Dune", "author": "Frank Herbert", "publication_date": "1965-08-01"}


def upload(client: httpx2.Client) -> int:
    """A new picture's id."""
    files = {"file": ("waterfall.jpg", PHOTO.read_bytes(), "image/jpeg")}
    answer = client.post("/api/images", files=files, data={"description": "falls"})
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


def come_and_go(client: httpx2.Client, stop: threading.Event) -> None:
    """Store pictures and delete half of them."""
    while not stop.is_set():
        answers = [
            client.post("/api/tasks", files={"image": PHOTO.read_bytes()}, data={"meta": ""})
            for _ in range(2)
        ]
        assert client.delete(f"/api/tasks/{answers[0].json()['id']}").status_code == 204


def everything(client: httpx2.Client) -> dict[str, Any]:
    """Everything of the original that a user sees."""
    return {
        path: client.get(f"/api/{path}").json()
        for path in ("images", "tasks?limit=500", "books", "files/", "users/me")
    }


def watch(port: int, token: str, after: int) -> Any:
    """The first change of the catalogue after a position."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        metadata = [("authorization", token)]
        request = pb.WatchBooksRequest(after_sequence=after)
        call = BookServiceStub(channel).WatchBooks
        for answer in call(
            request, metadata=metadata, timeout=PATIENCE_SECONDS, wait_for_ready=True
        ):
            if answer.HasField("change"):
                return answer
    raise AssertionError("the stream ended")


def at_rest(original: Instance, client: httpx2.Client) -> int:
    """How far the log has come, once all is processed and all that happened is announced."""
    url = orjson.loads((original.data / "engines.json").read_bytes())["database_url"]
    with psycopg.connect(url, autocommit=True) as connection:

        def rests() -> bool:
            records = [*client.get("/api/files/").json(), *client.get("/api/images").json()]
            unsent = "SELECT count(*) FROM outbox WHERE position IS NULL"
            return connection.execute(unsent).fetchone() == (0,) and all(
                record["status"] in {"ready", "processed"} for record in records
            )

        until(rests)
        (reached,) = connection.execute("SELECT position FROM relay_position").fetchone() or (0,)
    return int(reached)


@pytest.mark.slow
def test_a_instance_comes_back_elsewhere(tmp_path: Path) -> None:
    """Backed up under load and again at rest, then restored: only the address changes."""
    folder, ports = tmp_path / "backup", (free_port(), free_port())
    with running(secret=SECRET, grpc_port=str(ports[0])) as original:
        client = original.user()
        token = client.headers["Authorization"]
        assert (
            client.post("/api/upload/", files={"file": ("a.csv", b"a,b\n1,2\n")}).status_code
            == 201
        )
        assert client.post("/api/books", json=BOOK).status_code == 201
        upload(client)
        stop = threading.Event()
        busy = threading.Thread(target=come_and_go, args=(client, stop))
        busy.start()
        busily = original.command("backup", str(folder))
        stop.set()
        busy.join()
        assert busily.returncode == 0, busily.stdout + busily.stderr
        check = original.command("check", "--deep")
        assert check.returncode == 0, check.stdout
        reached, before = at_rest(original, client), everything(client)
        quietly = original.command("backup", str(folder))
        assert quietly.returncode == 0, quietly.stdout + quietly.stderr

    with (
        running(backup=folder, secret=SECRET, grpc_port=str(ports[1])) as restored,
        httpx2.Client(
            base_url=restored.url, headers={"Authorization": token}, timeout=PATIENCE_SECONDS
        ) as there,
    ):
        assert everything(there) == before
        for record in before["images"]:
            original = there.get(f"/api/images/{record['id']}/renditions/original")
            assert hashlib.sha256(original.content).hexdigest() == record["sha256"]
            assert all(there.get(each["url"]).status_code == 200 for each in record["renditions"])
        assert there.post("/api/books", json=BOOK | {"title": "Dune Messiah"}).status_code == 201
        change = watch(ports[1], token, reached)
        assert (change.change.book.title, change.sequence) == ("Dune Messiah", reached + 1)
        for record in before["tasks?limit=500"]:
            assert there.get(record["image"]["url"]).content == PHOTO.read_bytes()
        assert upload(there) > max(record["id"] for record in before["images"])
        check = restored.command("check", "--deep")
        assert check.returncode == 0, check.stdout
