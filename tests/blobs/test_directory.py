"""Effects of the directory store on the disk."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from atelier.blobs.directory import DirectoryBlobs
from atelier.errors import Conflict, NotFound, Unavailable
from atelier.files.sync_bridge import at_once

# A writer whose step is named in argv[2] never ends: it is killed there.
KILLED_WRITER = """
import asyncio, os, stat, sys, time
from pathlib import Path
from atelier.blobs.directory import DirectoryBlobs

step = getattr(os, sys.argv[2])

def hang(what, *more):
    if stat.S_ISDIR(os.stat(what).st_mode):
        return step(what, *more)
    print("there", flush=True)
    time.sleep(3600)

setattr(os, sys.argv[2], hang)
asyncio.run(DirectoryBlobs(Path(sys.argv[1])).put("a/b", b"x" * 100_000))
"""
# A writer whose files cannot grow beyond 1,000 bytes.
CRAMPED_WRITER = """
import asyncio, resource, signal, sys
from pathlib import Path
from atelier.blobs.directory import DirectoryBlobs

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
asyncio.run(DirectoryBlobs(Path(sys.argv[1])).put("a/b", b"x" * 2000))
"""


@pytest.fixture
def blobs(tmp_path: Path) -> DirectoryBlobs:
    """An empty store."""
    return DirectoryBlobs(tmp_path / "blobs")


def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The calls that make things durable, recorded on their way to the real ones."""
    calls: list[tuple[str, str]] = []
    fsync, link = os.fsync, os.link

    def name(path: str | Path) -> str:
        relative = Path(path).relative_to(tmp_path.resolve())
        return "temporary" if relative.parent.name == ".incoming" else str(relative)

    def traced_fsync(descriptor: int) -> None:
        calls.append(("fsync", name(Path(f"/proc/self/fd/{descriptor}").readlink())))
        fsync(descriptor)

    def traced_link(source: Path, target: Path) -> None:
        calls.append(("link", name(target)))
        link(source, target)

    monkeypatch.setattr(os, "fsync", traced_fsync)
    monkeypatch.setattr(os, "link", traced_link)
    return calls


@pytest.mark.parametrize("as_file", [False, True])
async def test_order_of_a_durable_put(
    blobs: DirectoryBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, as_file: bool
) -> None:
    """Folders' entries and the file's bytes reach the disk before its name, that before return."""
    source = blobs.incoming / "upload"
    source.write_bytes(b"x")
    calls = trace(tmp_path, monkeypatch)
    await blobs.put("a/b/c", source if as_file else b"x")
    assert calls == [
        ("fsync", "."),
        ("fsync", "blobs"),
        ("fsync", "blobs/a"),
        ("fsync", "temporary"),
        ("link", "blobs/a/b/c"),
        ("fsync", "blobs/a/b"),
    ]
    calls.clear()
    await blobs.put("a/b/d", b"x")
    assert calls == [("fsync", "temporary"), ("link", "blobs/a/b/d"), ("fsync", "blobs/a/b")]
    calls.clear()
    await blobs.put("a/e/f", b"x")
    assert calls == [
        ("fsync", "blobs/a"),
        ("fsync", "temporary"),
        ("link", "blobs/a/e/f"),
        ("fsync", "blobs/a/e"),
    ]


async def test_deletion_is_durable(
    blobs: DirectoryBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each folder that lost a blob is on disk, once, before delete returns."""
    for key in ("a/1", "a/2", "b/1"):
        await blobs.put(key, b"")
    calls = trace(tmp_path, monkeypatch)
    await blobs.delete(["a/1", "a/2", "b/1", "c/1"])
    assert sorted(calls) == [("fsync", "blobs/a"), ("fsync", "blobs/b")]


@pytest.mark.parametrize("step", ["fsync", "link"])
async def test_a_killed_writer_leaves_only_a_temporary_file(tmp_path: Path, step: str) -> None:
    """A put killed before the bytes are on disk or have their name leaves no blob.

    What it left is swept.
    """
    root = tmp_path / "blobs"
    await DirectoryBlobs(root).put("a/a", b"")  # its folder is there
    writer = subprocess.Popen(
        [sys.executable, "-c", KILLED_WRITER, str(root), step], stdout=subprocess.PIPE
    )
    with writer:
        assert writer.stdout
        writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
    blobs = DirectoryBlobs(root)
    assert [found.key async for found in blobs.list()] == ["a/a"]
    assert await blobs.sweep_temporary(timedelta(0)) == 1
    assert list(blobs.incoming.iterdir()) == []
    await blobs.put("a/b", b"again")
    assert await blobs.get("a/b") == b"again"


@pytest.mark.parametrize("spooled", [False, True])
async def test_a_temporary_file_that_stays_is_no_failure(
    blobs: DirectoryBlobs, monkeypatch: pytest.MonkeyPatch, *, spooled: bool
) -> None:
    """The blob is stored all the same; a later sweep removes what the disk would not let go."""
    source = blobs.incoming / "spooled"
    source.write_bytes(b"kept")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", _broken)  # no file system of a test machine fails so
        await blobs.put("a", source if spooled else b"kept")
    assert await blobs.get("a") == b"kept"
    assert await blobs.sweep_temporary(timedelta(0)) >= 1
    assert list(blobs.incoming.iterdir()) == []


def _broken(path: Path, missing_ok: bool = False) -> None:
    raise OSError(errno.EIO, "the disk", str(path))


async def test_sweeping_spares_what_is_being_written(blobs: DirectoryBlobs) -> None:
    """Only files not written to for the given time are swept, and their number is returned."""
    old, new = blobs.incoming / "old", blobs.incoming / "new"
    old.write_bytes(b"")
    new.write_bytes(b"")
    os.utime(old, (time.time() - 7200,) * 2)
    await blobs.put("a", b"kept")
    assert await blobs.sweep_temporary(timedelta(hours=1)) == 1
    assert list(blobs.incoming.iterdir()) == [new]
    assert await blobs.get("a") == b"kept"


async def test_no_temporary_file_stays_after_a_conflict(blobs: DirectoryBlobs) -> None:
    """A put that fails leaves nothing behind."""
    await blobs.put("a", b"first")
    with pytest.raises(Conflict):
        await blobs.put("a", b"second")
    assert list(blobs.incoming.iterdir()) == []


async def test_a_file_of_another_file_system_is_copied(
    blobs: DirectoryBlobs, tmp_path: Path
) -> None:
    """A source that cannot be linked is copied, and is gone afterwards all the same."""
    memory = Path("/dev/shm")  # noqa: S108 - another file system, that is all
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system")
    with tempfile.NamedTemporaryFile(dir=memory, delete=False) as source:
        source.write(b"x" * 600_000)
    await blobs.put("a", Path(source.name))
    assert await blobs.get("a") == b"x" * 600_000
    assert not Path(source.name).exists()
    assert list(blobs.incoming.iterdir()) == []


async def test_a_full_disk_is_unavailable(blobs: DirectoryBlobs) -> None:
    """On a full disk the error is one after which the client may retry, and nothing stays."""
    writer = subprocess.run(
        [sys.executable, "-c", CRAMPED_WRITER, str(blobs.root)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "atelier.errors.Unavailable: the disk takes no more" in writer.stderr
    assert list(blobs.incoming.iterdir()) == []
    assert [found.key async for found in blobs.list()] == []


async def test_a_blob_where_a_folder_would_be(blobs: DirectoryBlobs) -> None:
    """A key below an existing blob's key is a Conflict."""
    await blobs.put("a", b"")
    with pytest.raises(Conflict):
        await blobs.put("a/b", b"")


async def test_pictures_are_private(blobs: DirectoryBlobs) -> None:
    """Other users of the machine can read neither blobs nor their folders."""
    source = blobs.incoming / "upload"
    source.write_bytes(b"")
    source.chmod(0o666)
    await blobs.put("a/file", source)
    await blobs.put("a/bytes", b"")
    paths = [blobs.path("a/file"), blobs.path("a/bytes"), blobs.path("a")]
    assert [stat.S_IMODE(path.stat().st_mode) & 0o007 for path in paths] == [0, 0, 0]


async def test_a_removed_folder_is_made_again(blobs: DirectoryBlobs) -> None:
    """An operator who tidies empty folders away does not stop later puts."""
    await blobs.put("a/b", b"1")
    await blobs.delete(["a/b"])
    blobs.path("a").rmdir()
    await blobs.put("a/b", b"2")
    assert await blobs.get("a/b") == b"2"


async def test_stores_of_several_processes_agree(tmp_path: Path) -> None:
    """Two stores on one folder see each other's blobs at once."""
    one, other = DirectoryBlobs(tmp_path), DirectoryBlobs(tmp_path)
    await asyncio.gather(*(store.put(f"x/{store is one}".lower(), b"") for store in (one, other)))
    assert {found.key async for found in one.list()} == {found.key async for found in other.list()}


async def test_a_folder_that_cannot_be_read_is_said_in_words(
    blobs: DirectoryBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that lacks a part of the store would call blobs missing that are there."""
    await blobs.put("a/b", b"")

    def closed(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(Unavailable, match="closed to us"):
        await anext(blobs.list())


def test_a_thread_without_an_event_loop_does_the_work_itself(blobs: DirectoryBlobs) -> None:
    """No other thread is begun: Django's and Celery's need not wait for one."""
    before = set(threading.enumerate())
    at_once(blobs.put("a/b", b"x"))
    assert at_once(blobs.get("a/b")) == b"x"
    assert at_once(blobs.stat("a/b")).size == 1
    at_once(blobs.delete(["a/b"]))
    with pytest.raises(NotFound):
        at_once(blobs.get("a/b"))
    assert set(threading.enumerate()) <= before
