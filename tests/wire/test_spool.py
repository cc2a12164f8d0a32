"""The spool: memory first, then one file that never outlives its request."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from atelier.errors import TooLarge, Unavailable
from atelier.wire.spool import MEMORY_BYTES, Spool, sweep

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("size", [0, 1, MEMORY_BYTES])
def test_a_small_content_stays_in_memory(tmp_path: Path, size: int) -> None:
    """The folder is not even made."""
    spool = Spool(tmp_path / "spool", 10 * MEMORY_BYTES)
    spool.add(b"x" * size)
    assert spool.finish() == (hashlib.sha256(b"x" * size).hexdigest(), b"x" * size)
    assert not (tmp_path / "spool").exists()


def test_a_large_content_is_one_file(tmp_path: Path) -> None:
    """It has every byte in order, whenever it was written, and its digest is theirs."""
    spool = Spool(tmp_path, 10 * MEMORY_BYTES)
    sent = [os.urandom(MEMORY_BYTES // 2) for _ in range(5)]
    for part in sent:
        spool.add(part)
        if spool.is_full:
            spool.write()
    digest, path = spool.finish()
    content = b"".join(sent)
    assert digest == hashlib.sha256(content).hexdigest()
    assert list(tmp_path.iterdir()) == [path]
    assert (path if isinstance(path, bytes) else path.read_bytes()) == content


def test_a_content_over_the_limit_is_refused(tmp_path: Path) -> None:
    """With the first byte too many."""
    spool = Spool(tmp_path, 3)
    spool.add(b"abc")
    with pytest.raises(TooLarge):
        spool.add(b"d")


def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    """As a full disk is: the upload can be sent again."""
    (tmp_path / "spool").write_text("in the way")
    spool = Spool(tmp_path / "spool", 10 * MEMORY_BYTES)
    spool.add(bytes(MEMORY_BYTES + 1))
    with pytest.raises(Unavailable):
        spool.write()
    spool.discard()


def test_a_discarded_spool_leaves_nothing(tmp_path: Path) -> None:
    """Its file goes with it."""
    spool = Spool(tmp_path, 10 * MEMORY_BYTES)
    spool.add(bytes(MEMORY_BYTES + 1))
    spool.write()
    assert list(tmp_path.iterdir())
    spool.discard()
    assert not list(tmp_path.iterdir())


def in_the_way(path: Path) -> None:
    """Put something in a file's place that `unlink` fails on, for root as well."""
    path.unlink()
    path.mkdir()


def test_a_spool_that_cannot_be_removed_is_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Cleaning up changes no answer: the log has it, and the descriptor is closed."""
    spool = Spool(tmp_path, 10 * MEMORY_BYTES)
    spool.add(bytes(MEMORY_BYTES + 1))
    spool.write()
    assert spool.path
    in_the_way(spool.path)
    spool.discard()
    assert spool.path.name in caplog.text
    assert spool.descriptor == -1


def test_a_close_that_fails_is_unavailable(tmp_path: Path) -> None:
    """The disk may have lost what was written; discarding the spool says nothing more of it."""
    for use, expected in (
        (Spool.finish, pytest.raises(Unavailable)),
        (Spool.discard, nullcontext()),
    ):
        spool = Spool(tmp_path, 10 * MEMORY_BYTES)
        spool.add(bytes(MEMORY_BYTES + 1))
        spool.write()
        os.close(spool.descriptor)
        with expected:
            use(spool)
        spool.discard()
    assert not list(tmp_path.iterdir())


def test_a_sweep_goes_on_past_what_cannot_be_removed(tmp_path: Path) -> None:
    """One file that stays does not keep the others, nor the API from starting."""
    for name in ("a.upload", "b.upload", "c.upload"):
        (tmp_path / name).touch()
    in_the_way(tmp_path / "b.upload")
    for path in tmp_path.iterdir():
        os.utime(path, (time.time() - 7200,) * 2)
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["b.upload"]


def test_what_killed_processes_left_is_swept(tmp_path: Path) -> None:
    """Old spooled files go; fresh ones, which somebody may be writing, and strangers stay."""
    for name, age in (("old.upload", 7200), ("new.upload", 0), ("other", 7200)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    sweep(tmp_path)
    sweep(tmp_path / "missing")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.upload", "other"]
