"""The containers as an operator runs them: upgraded, used, killed, scaled, brought down.

The tests of this file are one story and run in their order.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
import zlib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import httpx2
import pytest

from atelier.proto.books.v1 import books_pb2, books_pb2_grpc
from tests.compose.stack import BUILD_SECONDS, SCRIPTS, Stack
from tests.system.clients import upload
from tests.system.instance import PASSWORD, settled
from tests.waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.compose

PHOTO = Path(__file__).parents[1] / "photos" / "waterfall_640x480.jpg"
OLD = "old@example.org"
ROLES = ("api", "processor", "archiver", "relay", "grpc", "files")
VICTIMS = ("api", "processor", "archiver", "relay", "redis", "rabbitmq", "postgres")
UPLOADS = 12  # for each victim
LIMIT = 50 * 1024 * 1024
TAKERS, TASKS = 32, 16
seen: dict[str, Any] = {"events": [], "images": []}  # what one test leaves to a later one


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Built images and no container; whatever happens, nothing stays."""
    if shutil.which("docker") is None:
        pytest.skip("needs Docker")
    stack = Stack()
    stack.compose("build", seconds=BUILD_SECONDS)
    try:
        yield stack
    finally:
        stack.down()


@pytest.fixture(scope="module")
def ada(stack: Stack) -> httpx2.Client:
    """A signed-in user."""
    return stack.user("ada@example.org")


@pytest.fixture(autouse=True)
def _tell(stack: Stack, request: pytest.FixtureRequest) -> Iterator[None]:
    """Show what the containers said when a test fails."""
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        print(stack.logs())  # noqa: T201 - pytest shows it with the failure


def inside(script: str) -> str:
    """The text of a script that runs in a container."""
    return (SCRIPTS / f"{script}.py").read_text()


def events(stack: Stack) -> list[dict[str, Any]]:
    """Every event so far, in the order of its arrival."""
    seen["events"] += map(json.loads, stack.inside("relay", "drain").splitlines())
    found: list[dict[str, Any]] = seen["events"]
    return found


def test_the_file_is_valid(stack: Stack) -> None:
    """Compose takes it as it is, with nothing set, and with the profile for observing."""
    stack.compose("config", "--quiet")
    stack.compose("--profile", "observe", "config", "--quiet")


def test_an_upgrade_keeps_what_was_there(stack: Stack) -> None:
    """A database at the migration before the last is migrated before the new roles start.

    People and data stay.
    """
    stack.up("postgres", "redis", "rabbitmq")
    words = ("run", "--rm", "-T", "--no-deps", "migrate", "python", "-", OLD, PASSWORD)
    before, head = stack.compose(*words, given=inside("before")).split()
    assert before < head
    stack.compose("run", "--rm", "-T", "--no-deps", "relay", "python", "-", given=inside("bind"))
    stack.up()
    veteran = stack.user(OLD, register=False)
    (book,) = veteran.get("/api/books").json()
    assert book["title"] == "Dune"
    until(
        lambda: any(event["type"] == "book.created" for event in events(stack)),
        "the old event was never sent",
    )


def test_containers_can_do_little(stack: Stack) -> None:
    """The processor: no root, no capability, nothing writable, no database.

    And yet its decoders lock themselves in, and its captions are laid out.
    """
    found = json.loads(stack.inside("processor", "confined"))
    fewest, *_, most = found.pop("filters")
    assert most > fewest
    assert found == {
        "user": 10001, "capabilities": 0, "no_new_privileges": "1", "root_is_writable": False,
        "database": [],
        "captions_laid_out": True,
    }  # fmt: skip


def test_the_doctor_finds_every_container_sound(stack: Stack) -> None:
    """Each is judged by what it has and needs; the operator's container, too."""
    for role in ROLES:
        assert "FAILED" not in stack.compose("exec", "-T", role, "atelier", "doctor")
    assert "FAILED" not in stack.compose("run", "--rm", "-T", "migrate", "atelier", "doctor")


def test_the_broker_has_the_queues_that_are_used(stack: Stack) -> None:
    """Celery declares none for jobs of a later time."""
    listed = stack.compose("exec", "-T", "rabbitmq", "rabbitmqctl", "list_queues", "-q", "name")
    assert "atelier.files" in listed
    assert "celery_delayed" not in listed


def test_a_token_is_required(stack: Stack, ada: httpx2.Client) -> None:
    """No token, a broken one: 401.

    The engines have no port on this machine, and metrics no way out.
    """
    for headers in ({}, {"Authorization": ada.headers["Authorization"][:-3] + "abc"}):
        assert httpx2.get(f"{stack.url}/api/images", headers=headers).status_code == 401
    assert httpx2.get(f"{stack.url}/metrics").status_code == 404
    for engine in ("postgres", "redis", "rabbitmq"):
        assert not any(
            stack.inspect(stack.containers(engine)[0])["NetworkSettings"]["Ports"].values()
        )


def test_a_picture_from_upload_to_deletion(stack: Stack, ada: httpx2.Client) -> None:
    """A picture is captioned, served by the proxy if the API allows it, and gone when deleted."""
    words = "С начала фазы запрещающего сигнала прошло: 7 секунд"
    files = {"file": ("waterfall.jpg", PHOTO.read_bytes(), "image/jpeg")}
    created = ada.post("/api/images", files=files, data={"description": words})
    assert created.status_code == 201, created.text
    record = settled(ada, created.json()["id"])
    assert record["status"] == "ready"
    whole = ada.get(record["url"])
    assert (whole.status_code, whole.headers["content-type"], whole.headers["server"]) == (
        200,
        "image/jpeg",
        "nginx",
    )
    location, sent = stack.inside(
        "api", "accel", record["url"], ada.headers["Authorization"]
    ).split()
    assert (location.startswith("/_blobs/images/"), sent) == (True, "0")
    part = ada.get(
        record["url"], headers={"Range": "bytes=10-19", "If-Range": whole.headers["etag"]}
    )
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert (
        ada.get(record["url"], headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    )
    assert ada.delete(record["url"]).status_code == 204
    assert ada.get(record["url"]).status_code == 404
    assert httpx2.get(f"{stack.url}{location}").status_code == 404


def test_books_over_rest_and_grpc(stack: Stack, ada: httpx2.Client) -> None:
    """A book over REST is read over gRPC, and its watchers hear of it through the broker."""
    metadata = [("authorization", ada.headers["Authorization"])]
    with grpc.insecure_channel(f"127.0.0.1:{stack.grpc}") as channel:
        books = books_pb2_grpc.BookServiceStub(channel)
        page = books.ListBooks(
            books_pb2.ListBooksRequest(page_size=10), metadata=metadata, timeout=PATIENCE_SECONDS
        )
        assert [book.title for book in page.books] == ["Dune"]
        watching = books.WatchBooks(
            books_pb2.WatchBooksRequest(after_sequence=page.sequence),
            metadata=metadata,
            timeout=PATIENCE_SECONDS,
        )
        book = {"title": "Solaris", "author": "Stanisław Lem", "publication_date": "1961-06-01"}
        created = ada.post("/api/books", json=book).json()
        changes = (answer.change for answer in watching if answer.HasField("change"))
        assert next(changes).book.title == "Solaris"
        found = books.GetBook(
            books_pb2.GetBookRequest(id=created["id"]), metadata=metadata, timeout=PATIENCE_SECONDS
        )
        assert found.book.author == "Stanisław Lem"
        with pytest.raises(grpc.RpcError) as refused:
            books.GetBook(books_pb2.GetBookRequest(id=created["id"]), timeout=PATIENCE_SECONDS)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_each_task_has_one_taker(ada: httpx2.Client) -> None:
    """Of 32 takers at once 16 get a task each, no two the same, and 16 get none."""
    for number in range(TASKS):
        files = {"image": ("task.jpg", PHOTO.read_bytes(), "image/jpeg")}
        assert ada.post("/api/tasks", files=files, data={"meta": str(number)}).status_code == 201
    with ThreadPoolExecutor(TAKERS) as pool:
        answers = list(pool.map(lambda _: ada.post("/api/tasks/take"), range(TAKERS)))
    taken = [answer.json()["id"] for answer in answers if answer.status_code == 200]
    assert (len(taken), len(set(taken))) == (TASKS, TASKS)
    assert sum(answer.status_code == 404 for answer in answers) == TAKERS - TASKS


def test_a_file_is_looked_into(ada: httpx2.Client) -> None:
    """Celery's worker finds the rows of a table; the content comes back as it went in."""
    content = b"name,year\nDune,1965\nSolaris,1961\n"
    record = ada.post("/api/upload/", files={"file": ("books.csv", content, "text/csv")}).json()
    until(lambda: ada.get(record["url"]).json()["processed"], "the file was never processed")
    assert ada.get(record["url"]).json()["result"]["rows"] == 2
    assert ada.get(record["file"]).content == content


def test_large_bodies_meet_one_limit(ada: httpx2.Client) -> None:
    """40 MiB pass the proxy's spool to the store and back.

    What is over the limit is a problem document.
    """
    content = zlib.compress(b"") + bytes(40 * 1024 * 1024)
    record = ada.post("/api/upload/", files={"file": ("large.bin", content)}).json()
    assert ada.get(record["file"]).content == content
    refused = ada.post(
        "/api/upload/", content=bytes(LIMIT + 1), headers={"content-type": "multipart/form-data"}
    )
    assert (refused.status_code, refused.headers["content-type"]) == (
        413,
        "application/problem+json",
    )


@pytest.mark.parametrize("victim", VICTIMS)
def test_no_acknowledged_upload_is_lost(stack: Stack, ada: httpx2.Client, victim: str) -> None:
    """A container is killed with -9 amid uploads: every acknowledged upload becomes ready."""
    begun = threading.Event()

    def one(number: int) -> int:
        if number == UPLOADS // 3:
            begun.set()
        return upload(ada, number)

    with ThreadPoolExecutor(2) as pool:
        uploads = [pool.submit(one, number) for number in range(UPLOADS)]
        begun.wait(PATIENCE_SECONDS)
        stack.kill(victim)
        time.sleep(1)
        stack.compose("start", victim)
        ids = [each.result() for each in uploads]
    until(stack.alive, f"the stack did not come back after {victim}")
    assert [settled(ada, image)["status"] for image in ids] == ["ready"] * UPLOADS
    assert all(ada.get(f"/api/images/{image}").content[:2] == b"\xff\xd8" for image in ids)
    seen["images"] += ids


def test_what_ends_by_itself_is_started_again(stack: Stack) -> None:
    """The restart policy: a role that leaves comes back without anybody's help."""
    (container,) = stack.containers("archiver")
    stack.compose("exec", "-T", "archiver", "sh", "-c", "kill -TERM 1")
    until(
        lambda: stack.inspect(container)["RestartCount"] > 0, "the archiver was not started again"
    )


def test_more_containers_share_the_work(stack: Stack, ada: httpx2.Client) -> None:
    """With two APIs and two processors, the proxy finds the new one, and both render."""
    stack.up("--no-recreate", "--scale", "api=2", "--scale", "processor=2")

    def both() -> bool:
        with ThreadPoolExecutor(4) as pool:
            seen["images"] += pool.map(lambda number: upload(ada, number), range(8))
        words = {"api": "POST /api/images 201", "processor": " event image."}
        return all(
            words[name] in stack.docker("logs", each) for name in words for each in logging(name)
        )

    def logging(name: str) -> list[str]:
        return stack.containers(name)

    assert all(len(logging(name)) == 2 for name in ("api", "processor"))
    for name in ("api", "processor"):
        for each in logging(name):
            until(
                lambda each=each: stack.inspect(each)["State"]["Health"]["Status"] == "healthy",
                "not healthy",
            )
    until(both, "one of two containers had nothing to do")
    assert {settled(ada, image)["status"] for image in seen["images"]} == {"ready"}


def test_every_change_was_announced(stack: Stack, ada: httpx2.Client) -> None:
    """Whatever was killed, the subscriber has every event of every picture, without a gap."""

    def gaps() -> dict[str, list[int]]:
        numbers: dict[str, set[int]] = defaultdict(set)
        for event in events(stack):
            numbers[event["subject"]].add(event["sequence"])
        lost = {
            f"images/{image}": [0]
            for image in seen["images"]
            if len(numbers[f"images/{image}"]) < 2
        }
        holes = {
            name: sorted(found)
            for name, found in numbers.items()
            if found != set(range(1, len(found) + 1))
        }
        return lost | holes

    until(lambda: not gaps(), gaps)
    kinds = {event["type"] for event in events(stack)}
    expected = {
        "image.created",
        "image.processed",
        "image.deleted",
        "book.created",
        "task.created",
        "task.taken",
    }
    assert expected | {"file.uploaded", "file.processed", "user.created"} <= kinds


def test_rows_and_blobs_agree_in_the_end(stack: Stack) -> None:
    """`atelier check` in the operator's container finds nothing missing and nothing corrupt."""
    stack.compose("run", "--rm", "-T", "--no-deps", "migrate", "atelier", "check", "--deep")
