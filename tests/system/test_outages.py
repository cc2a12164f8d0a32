"""Engines that go away and come back under a running instance: what is answered meanwhile.

And nothing is lost.
"""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from atelier.up.engines import start_postgres, start_valkey
from tests.system.clients import events_seen
from tests.system.instance import Instance, settled
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx2

    from atelier.up.engines import Engine

PHOTO = (Path(__file__).parents[1] / "photos" / "waterfall_640x480.jpg").read_bytes()


class Deployment:
    """An instance on engines that the test holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.postgres = start_postgres(folder / "postgres", durable=False)
        self.valkey = start_valkey(folder / "valkey")
        self.instance = Instance(
            folder,
            reconcile_seconds="1",
            database_url=self.postgres.url,
            redis_url=self.valkey.url,
            user="root",  # whose engines these are, where root runs the tests
        )
        self.instance.start()

    def close(self) -> None:
        """Stop all three."""
        self.instance.close()
        self.valkey.halt()
        self.postgres.halt()


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    """One for all outages."""
    with tempfile.TemporaryDirectory(
        prefix="atelier-system-", suffix=" 5%20 дом", ignore_cleanup_errors=True
    ) as folder:
        Path(folder).chmod(0o755)
        deployment = Deployment(Path(folder))
        yield deployment
        deployment.close()


def upload(client: httpx2.Client, **form: str) -> httpx2.Response:
    """One photograph."""
    return client.post("/api/images", files={"file": ("a.jpg", PHOTO)}, data=form)


def is_away(answer: httpx2.Response) -> bool:
    """True if an answer says that something is away, and when to try again."""
    return (
        answer.status_code == 503
        and answer.headers["content-type"] == "application/problem+json"
        and answer.json()["type"] == "/problems/unavailable"
        and int(answer.headers["retry-after"]) > 0
    )


def readiness(instance: Instance, client: httpx2.Client) -> dict[str, str]:
    """The state of each dependency by `/readyz`."""
    answer = client.get("/readyz")
    assert client.get("/healthz").status_code == 200
    found: dict[str, str] = answer.json()["checks"]
    assert (answer.status_code == 200) == (set(found.values()) == {"ok"})
    return found


def restart(start: Callable[..., Engine], folder: Path, deployment: Deployment) -> Engine:
    """Start an engine again on its folder and wait until the instance has noticed."""
    engine = start(folder)
    until(deployment.instance.alive, "the instance did not come back")
    return engine


def test_without_redis_reads_work_and_uploads_are_taken(deployment: Deployment) -> None:
    """Changes, which must reach every cache, are refused for now.

    What was taken is processed when Redis is back.
    """
    instance = deployment.instance
    client = instance.user()
    known = upload(client, description="before").json()["id"]
    assert settled(client, known)["status"] == "ready"
    picture = client.get(f"/api/images/{known}").content

    deployment.valkey.halt()
    without = {"database": "ok", "redis": "unreachable", "blobs": "ok"}
    until(lambda: readiness(instance, client) == without)
    assert client.get(f"/api/images/{known}").content == picture
    assert client.get(f"/api/images/{known}/info").json()["status"] == "ready"
    assert len(client.get("/api/images").json()) == 1
    taken = [upload(client, description=f"meanwhile {number}") for number in range(3)]
    assert {answer.status_code for answer in taken} == {201}
    file = client.post("/api/upload", files={"file": ("a.txt", b"text")})
    task = client.post("/api/tasks", files={"image": ("a.jpg", PHOTO)}, data={"meta": "m"})
    assert (file.status_code, task.status_code) == (201, 201)
    assert is_away(client.patch(f"/api/images/{known}", json={"title": "changed"}))
    assert is_away(client.delete(f"/api/images/{known}"))
    assert client.get(f"/api/images/{known}/info").json()["title"] != "changed"
    deployment.instance.login(client, "ada@example.org")

    deployment.valkey = restart(start_valkey, deployment.folder / "valkey", deployment)
    for answer in taken:
        assert settled(client, answer.json()["id"])["status"] == "ready"
    until(lambda: processed(client, file.json()["id"]), "the file was not processed")
    assert client.patch(f"/api/images/{known}", json={"title": "changed"}).status_code == 200
    assert client.delete(f"/api/images/{known}").status_code == 204
    subjects = [f"images/{answer.json()['id']}" for answer in taken]
    until(lambda: all(events_seen(instance)[s] == {1, 2} for s in subjects), "events are missing")
    assert instance.command("check", "--deep").returncode == 0


def processed(client: httpx2.Client, file_id: int) -> bool:
    """True once a file has been inspected."""
    record: dict[str, Any] = client.get(f"/api/files/{file_id}/").json()
    return bool(record["processed"])


def test_without_the_database_everything_says_so(deployment: Deployment) -> None:
    """503 as a problem, `/readyz` names it, nothing is half done.

    And all works on when it is back.
    """
    instance = deployment.instance
    client = instance.user("bob@example.org")
    kept = upload(client).json()["id"]
    assert settled(client, kept)["status"] == "ready"
    before = blobs(instance)

    deployment.postgres.stop()
    until(lambda: readiness(instance, client)["database"] == "unreachable")
    assert is_away(client.get("/api/images"))
    assert is_away(client.get("/api/books"))
    assert is_away(client.get("/api/tasks"))
    assert is_away(client.get("/api/files"))
    assert is_away(upload(client))
    assert is_away(client.post("/api/upload", files={"file": ("a.txt", b"text")}))
    assert is_away(
        client.post(
            "/api/books", json={"title": "t", "author": "a", "publication_date": "1869-01-01"}
        )
    )
    assert is_away(client.patch(f"/api/images/{kept}", json={"title": "changed"}))
    assert is_away(client.delete(f"/api/images/{kept}"))
    assert is_away(
        client.post(
            "/api/users", json={"email": "eve@example.org", "password": "correct horse battery"}
        )
    )
    assert client.get("/docs").status_code == 200

    deployment.postgres = restart(start_postgres, deployment.folder / "postgres", deployment)
    assert settled(client, upload(client, description="after").json()["id"])["status"] == "ready"
    assert client.get(f"/api/images/{kept}/info").json()["title"] == "a.jpg"
    assert len(client.get("/api/images").json()) == 2
    assert before <= blobs(instance)
    until(
        lambda: instance.command("check", "--deep").returncode == 0, "rows and blobs do not agree"
    )


def blobs(instance: Instance) -> set[str]:
    """The names of all stored files."""
    return {path.name for path in (instance.data / "blobs").rglob("*") if path.is_file()}


def test_a_frozen_redis_does_not_block_for_ever(deployment: Deployment) -> None:
    """It takes connections and says nothing: reads and uploads go on without it."""
    instance = deployment.instance
    client = instance.user("carol@example.org")
    known = upload(client, description="before").json()["id"]
    assert settled(client, known)["status"] == "ready"
    deployment.valkey.process.send_signal(signal.SIGSTOP)
    try:
        assert readiness(instance, client)["redis"] == "slow"
        assert client.get(f"/api/images/{known}/info").json()["status"] == "ready"
        assert client.get(f"/api/images/{known}").status_code == 200
        taken = upload(client)
        assert taken.status_code == 201
        assert is_away(client.delete(f"/api/images/{known}"))
    finally:
        deployment.valkey.process.send_signal(signal.SIGCONT)
    assert settled(client, taken.json()["id"])["status"] == "ready"
    until(instance.alive, "the instance did not come back")
