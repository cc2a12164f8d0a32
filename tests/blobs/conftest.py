"""The stores of the contract tests: one parameter for each implementation of the port."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from atelier.blobs.directory import DirectoryBlobs
from atelier.blobs.s3 import Access, S3Blobs

if TYPE_CHECKING:
    from pathlib import Path

    from atelier.blobs import Blobs
    from tests.s3 import S3Server


def s3_store(server: S3Server, prefix: str = "some/prefix") -> S3Blobs:
    """An empty store in a bucket of its own."""
    bucket = server.bucket(f"bucket-{secrets.token_hex(8)}")
    return S3Blobs(
        bucket, prefix, Access(server.url, "eu-central-1", "atelier-access", "atelier-secret")
    )


@pytest.fixture(params=["directory", "s3", "s3-without-prefix"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    """An empty store."""
    if request.param == "directory":
        return DirectoryBlobs(tmp_path / "blobs")
    return s3_store(
        request.getfixturevalue("s3"),
        "" if request.param == "s3-without-prefix" else "some/prefix",
    )
