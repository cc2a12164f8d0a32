"""A fresh instance from start to stop, as its first user meets it."""

from __future__ import annotations

import io
import re
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from tests.system.instance import settled
from tests.waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from tests.system.instance import Instance

PHOTO = Path(__file__).parents[1] / "photos" / "waterfall_640x480.jpg"


def test_a_photograph_goes_all_the_way(shared: Instance) -> None:
    """From upload through both queues to the served caption, its files, events and a check."""
    client = shared.user()
    files = {"file": ("waterfall.jpg", PHOTO.read_bytes(), "image/jpeg")}
    answer = client.post("/api/images", files=files, data={"description": "Семь секунд"})
    assert answer.status_code == 201
    record = settled(client, answer.json()["id"])
    assert record["status"] == "ready"
    picture = Image.open(io.BytesIO(client.get(record["url"]).content))
    assert picture.width == 640
    assert picture.height > 480
    check = shared.command("check", "--deep")
    assert check.returncode == 0, check.stdout
    jobs = shared.command("jobs")
    assert "process: 0 waiting" in jobs.stdout
    assert "files: 0 waiting" in jobs.stdout
    doctor = shared.command("doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert "files      0 jobs wait for a worker, on Redis" in doctor.stdout


def test_the_start_screen_comes_when_every_address_answers(shared: Instance) -> None:
    """GRPC listens, or is said to be late, and no banner of others pushes the screen away."""
    until(lambda: "is running" in shared.log.read_text(), shared.log.read_text)
    screen = shared.log.read_text().partition("is running")[2]
    port = next(
        line.rpartition(":")[2] for line in screen.splitlines() if line.strip().startswith("gRPC")
    )
    if not re.search(
        r"Not up yet: .*\bgrpc\b", screen
    ):  # a machine may need longer than its patience
        socket.create_connection(("127.0.0.1", int(port)), timeout=PATIENCE_SECONDS).close()
    assert "[queues]" not in shared.log.read_text()


def test_stopping_ends_every_process(shared: Instance) -> None:
    """SIGTERM ends roles and engines in order: exit code 0 and nothing left.

    A second start finds all data.
    """
    client = shared.user("bob@example.org")
    assert (
        client.post("/api/images", files={"file": ("a.jpg", PHOTO.read_bytes())}).status_code
        == 201
    )
    family = shared.members()
    assert shared.stop() == 0
    until(lambda: not shared.survivors(family), lambda: f"left: {shared.survivors(family)}")
    shared.start()
    shared.login(client, "bob@example.org")
    assert len(client.get("/api/images").json()) == 1


def test_a_store_that_is_not_ours_stops_the_start(shared: Instance) -> None:
    """With the folder of blobs away the start is refused with what to do.

    Back in its place nothing is lost.
    """
    client = shared.user("carol@example.org")
    image = client.post("/api/images", files={"file": ("a.jpg", PHOTO.read_bytes())}).json()
    settled(client, image["id"])
    assert "and belongs to the database" in shared.command("doctor").stdout
    assert shared.stop() == 0
    blobs, away = shared.data / "blobs", shared.data / "away"
    blobs.rename(away)
    refused = shared.command("up", "--port", str(shared.port))
    assert refused.returncode == 2
    assert "is the volume mounted?" in refused.stderr
    shutil.rmtree(blobs, ignore_errors=True)
    away.rename(blobs)
    shared.start()
    shared.login(client, "carol@example.org")
    assert client.get(f"{image['url']}/renditions/original").content == PHOTO.read_bytes()
    assert shared.command("blobs", "verify").returncode == 0
    assert shared.command("check", "--deep").returncode == 0
