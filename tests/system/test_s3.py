"""A whole instance whose blobs are in a bucket."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from atelier.blobs.s3 import Access, S3Blobs
from tests.s3 import KEYS
from tests.system.conftest import running
from tests.system.instance import settled
from tests.waiting import until

if TYPE_CHECKING:
    import httpx2

    from tests.s3 import S3Server

PHOTO = (Path(__file__).parents[1] / "photos" / "waterfall_640x480.jpg").read_bytes()
LARGE = PHOTO + b"\0" * (
    9 * 1024 * 1024
)  # more than travels inside a job, and than goes up in one part
TEXT = b"one line of words\n" * 600_000  # 10.8 MB: goes up in parts, too


def test_everything_works_without_a_folder_of_blobs(s3: S3Server) -> None:
    """Images, tasks and files go up, are processed, read in part and deleted.

    Nothing stays in the bucket.

    `accel_prefix` is set, as `compose.yaml` has it: no nginx could send from a bucket, so the API
    sends all the same.
    """
    bucket = s3.bucket(f"bucket-{secrets.token_hex(4)}")
    with running(
        blobs=f"s3://{bucket}/atelier", s3_endpoint=s3.url, accel_prefix="/_blobs/", **KEYS
    ) as instance:
        client = instance.user()
        images = [upload(client, content) for content in (PHOTO, LARGE)]
        for image_id, content in zip(images, (PHOTO, LARGE), strict=True):
            assert settled(client, image_id)["status"] == "ready"
            reads_back(client, f"/api/images/{image_id}/renditions/original", content)
            assert client.get(f"/api/images/{image_id}").content.startswith(b"\xff\xd8")
        task = client.post(
            "/api/tasks", files={"image": ("a.jpg", LARGE)}, data={"meta": "m"}
        ).json()["id"]
        reads_back(client, f"/api/tasks/{task}/image", LARGE)
        file = client.post("/api/upload", files={"file": ("a.txt", TEXT)}).json()["id"]
        until(lambda: client.get(f"/api/files/{file}/").json()["processed"], "not processed")
        assert client.get(f"/api/files/{file}/").json()["result"]["lines"] == 600_000
        reads_back(client, f"/api/files/{file}/content", TEXT)
        check = instance.command("check", "--deep")
        assert check.returncode == 0, check.stdout
        assert not (instance.data / "blobs").exists()
        assert list((instance.data / "incoming").iterdir()) == []
        removes_all(
            client, [f"/api/images/{images[0]}", f"/api/tasks/{task}", f"/api/files/{file}/"]
        )
        store = S3Blobs(bucket, "", Access(s3.url, "us-east-1", *KEYS.values()))
        until(lambda: asyncio.run(keys(store)) == [], "blobs stay")


async def keys(store: S3Blobs) -> list[str]:
    """Every blob of a bucket."""
    return [stat.key async for stat in store.list()]


def upload(client: httpx2.Client, content: bytes) -> int:
    """One picture; the id of its image."""
    answer = client.post(
        "/api/images", files={"file": ("a.jpg", content)}, data={"description": "one"}
    )
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


def reads_back(client: httpx2.Client, url: str, content: bytes) -> None:
    """Uploads come back, whole and in part."""
    assert client.get(url).content == content
    part = client.get(url, headers={"Range": "bytes=1000-300999"})
    assert (part.status_code, part.content) == (206, content[1000:301_000])


def removes_all(client: httpx2.Client, urls: list[str]) -> None:
    """Some things are deleted one by one, the rest goes with the user."""
    for url in urls:
        assert client.delete(url).status_code == 204
        assert client.get(url).status_code == 404
    user = client.get("/api/users/me").json()["id"]
    assert client.delete(f"/api/users/{user}").status_code == 204
