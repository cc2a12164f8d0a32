"""Pictures that hang, exhaust or crash their decoder fail with a reason while others proceed."""

from __future__ import annotations

import contextlib
import io
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.system.conftest import running
from tests.system.hostile import slow_jpeg
from tests.system.instance import descendants, settled
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2

    from tests.system.instance import Instance

PHOTO = (Path(__file__).parents[1] / "photos" / "waterfall_640x480.jpg").read_bytes()
ATTEMPTS = 2
MEMORY = 192 * 1024 * 1024
BUSY_BYTES = (
    130 * 1024 * 1024
)  # resident: a child at rest has about 70 MiB, one that decodes 49 megapixels 160


@pytest.fixture(scope="module")
def strict() -> Iterator[Instance]:
    """An instance that grants a picture three seconds, and little memory."""
    with running(
        decode_seconds="3",
        decode_memory=str(MEMORY),
        job_attempts=str(ATTEMPTS),
        processor_workers="2",
    ) as instance:
        yield instance


def upload(client: httpx2.Client, content: bytes) -> int:
    """The id of an upload."""
    answer = client.post(
        "/api/images", files={"file": ("a", content)}, data={"description": "hostile or not"}
    )
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


def too_large_png() -> bytes:
    """49 million transparent pixels in some kilobytes."""
    buffer = io.BytesIO()
    Image.new("RGBA", (7000, 7000)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def decoding(instance: Instance) -> set[int]:
    """The processor's children that have a large picture in memory."""
    found = set()
    for processor in instance.pids("processor"):
        for pid in descendants(processor):
            with contextlib.suppress(OSError):  # it has just ended
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                if pages * os.sysconf("SC_PAGE_SIZE") > BUSY_BYTES:
                    found.add(pid)
    return found


def kill_decoders(instance: Instance, times: int) -> None:
    """Kill -9 the child that is at work, so many times."""
    killed = set[int]()
    while len(killed) < times:
        for pid in until(lambda: decoding(instance) - killed, "no decoder was found"):
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)


def assert_failed(client: httpx2.Client, image_id: int, reason: str) -> None:
    """It is failed, its record and its picture say why, and the original is kept."""
    record = settled(client, image_id)
    assert record["status"] == "failed"
    assert record["error"]["reason"] == reason
    picture = client.get(f"/api/images/{image_id}")
    assert (picture.status_code, picture.json()["type"]) == (404, "/problems/processing-failed")
    assert picture.json()["detail"] == record["error"]["detail"]
    assert client.get(f"/api/images/{image_id}/renditions/original").status_code == 200


def test_a_hang_and_a_bomb_fail_alone(strict: Instance) -> None:
    """A picture that takes too long and one that takes too much fail with their reasons.

    The others come out.
    """
    client = strict.user()
    hang, bomb = upload(client, slow_jpeg(6000, 63)), upload(client, too_large_png())
    photographs = [upload(client, PHOTO) for _ in range(10)]
    assert {settled(client, image_id)["status"] for image_id in photographs} == {"ready"}
    assert_failed(client, hang, "decode-timeout")
    assert_failed(client, bomb, "decode-memory")
    assert settled(client, upload(client, PHOTO))["status"] == "ready"
    assert strict.command("check", "--deep").returncode == 0


def test_a_decoder_that_is_killed_every_time_fails_its_picture(patient: Instance) -> None:
    """Each attempt's child is killed with -9: in the end the picture fails, and others proceed."""
    client = patient.user()
    victim = upload(client, slow_jpeg(7000, 63))
    kill_decoders(patient, ATTEMPTS)
    photographs = [upload(client, PHOTO) for _ in range(3)]
    assert_failed(client, victim, "decode-crashed")
    assert {settled(client, image_id)["status"] for image_id in photographs} == {"ready"}


def test_a_decoder_that_is_killed_once_costs_an_attempt(patient: Instance) -> None:
    """The next attempt makes the renditions: a crash is no verdict on the picture."""
    client = patient.user("bob@example.org")
    survivor = upload(client, slow_jpeg(7000, 31))
    kill_decoders(patient, 1)
    record = settled(client, survivor)
    assert record["status"] == "ready", record
    assert Image.open(io.BytesIO(client.get(f"/api/images/{survivor}").content)).width == 7000


@pytest.fixture(scope="module")
def patient() -> Iterator[Instance]:
    """An instance that grants a picture all the time that killing it takes."""
    with running(
        decode_seconds="600", job_attempts=str(ATTEMPTS), processor_workers="1"
    ) as instance:
        yield instance
