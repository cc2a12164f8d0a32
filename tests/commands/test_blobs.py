"""`atelier blobs copy`: whole stores either way, stopped and gone on with, and what it refuses."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest

from atelier.blobs.directory import DirectoryBlobs
from atelier.blobs.mark import UNFINISHED, written
from atelier.commands.blobs import copy, copy_all
from atelier.errors import Conflict, Invalid, NotFound
from atelier.settings import Settings
from atelier.up.engines.errors import EngineError
from atelier.up.preflight import LOCK, take_folder
from tests.blobs.conftest import s3_store
from tests.s3 import KEYS, S3Server
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from atelier.blobs import Blobs

MARK = written("00000000-0000-0000-0000-000000000001")
MANY = 400


async def fill(store: Blobs, count: int = 20) -> dict[str, bytes]:
    """Some blobs, one of them large, and a mark."""
    made = {f"files/{number:03x}": os.urandom(number * 50) for number in range(count)}
    made["files/large"] = os.urandom(9 * 1024 * 1024)
    for key, content in made.items():
        await store.put(key, content)
    await store.set_mark(MARK)
    return made


async def content(store: Blobs) -> dict[str, bytes]:
    """All that a store holds."""
    return {stat.key: await store.get(stat.key) async for stat in store.list()}


async def test_there_and_back(
    s3: S3Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder goes into a bucket and from there into another folder: every blob and the owner."""
    first, last = tmp_path / "first", tmp_path / "last"
    made = await fill(DirectoryBlobs(first))
    url = f"s3://{s3.bucket(f'bucket-{secrets.token_hex(4)}')}/prefix"
    settings = Settings(data=tmp_path / "data", s3_endpoint=s3.url, **KEYS)
    assert await asyncio.to_thread(copy, settings, str(first), url, final=True) == 0
    assert "21 copied (9.0 MiB), 0 there already, 0 failed" in capsys.readouterr().out
    assert await asyncio.to_thread(copy, settings, url, str(last), final=True) == 0
    assert await content(DirectoryBlobs(last)) == made
    assert await DirectoryBlobs(last).mark() == MARK
    assert await content(DirectoryBlobs(first)) == made
    assert list((tmp_path / "data" / "incoming").iterdir()) == []
    assert list((last / ".incoming").iterdir()) == []
    capsys.readouterr()
    assert await asyncio.to_thread(copy, settings, url, str(last), final=True) == 0
    assert "0 copied (0.0 MiB), 21 there already, 0 failed" in capsys.readouterr().out


async def test_killed_and_gone_on_with(s3: S3Server, tmp_path: Path) -> None:
    """After kill -9 in the middle the target says that it is unfinished.

    Another run copies the rest and no more.
    """
    made = await fill(DirectoryBlobs(tmp_path / "first"), MANY)
    target = s3_store(s3, "prefix")
    url = f"s3://{target._bucket}/prefix"
    environment = os.environ | {
        "ATELIER_S3_ENDPOINT": s3.url,
        "ATELIER_DATA": str(tmp_path / "data"),
    }
    environment |= {f"ATELIER_{name.upper()}": key for name, key in KEYS.items()}
    words = [sys.executable, "-m", "atelier", "blobs", "copy", "--final"]
    words += [str(tmp_path / "first"), url]
    with subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL) as running:

        async def begun() -> bool:
            assert running.poll() is None
            return any([True async for _ in target.list()])

        await eventually(begun)
        running.kill()
    assert (await target.mark() or b"").startswith(UNFINISHED)
    there = len(await content(target))
    assert 0 < there < len(made)
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{there} there already, 0 failed" in done.stdout
    assert await content(target) == made
    assert await target.mark() == MARK


async def test_a_copy_of_a_store_in_use_is_not_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No role takes a copy before a final one of a stopped instance."""
    first, last = DirectoryBlobs(tmp_path / "first"), DirectoryBlobs(tmp_path / "last")
    settings = Settings(data=tmp_path)
    await fill(first)
    assert await asyncio.to_thread(copy, settings, str(first.root), str(last.root)) == 0
    assert "stop Atelier and run this again with --final" in capsys.readouterr().out
    await first.put("files/later", b"later")
    assert (await last.mark() or b"").startswith(UNFINISHED)
    lock = take_folder(tmp_path)
    try:
        with pytest.raises(Conflict, match="Atelier runs here"):
            copy(settings, str(first.root), str(last.root), final=True)
    finally:
        os.close(lock)
        (tmp_path / LOCK).unlink()  # its owner, this process, lives on
    final = partial(copy, settings, str(first.root), str(last.root), final=True)
    assert await asyncio.to_thread(final) == 0
    assert await last.mark() == MARK
    assert await last.get("files/later") == b"later"


async def test_what_differs_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An existing blob with other bytes is listed and never replaced, with exit code 1."""
    first, last = DirectoryBlobs(tmp_path / "first"), DirectoryBlobs(tmp_path / "last")
    await fill(first)
    await last.put("files/001", bytes(50))
    await last.put("files/002", b"shorter")
    assert (
        await asyncio.to_thread(copy, Settings(data=tmp_path), str(first.root), str(last.root))
        == 1
    )
    output = capsys.readouterr().out
    assert "19 copied (9.0 MiB), 0 there already, 2 failed" in output
    assert "files/001: the copy has other bytes" in output
    assert "files/002: there is another blob of this key" in output
    assert "is NOT complete" in output
    assert (await last.get("files/001"), await last.get("files/002")) == (bytes(50), b"shorter")
    assert (await last.mark() or b"").startswith(UNFINISHED)


async def test_strangers_files_are_left_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Foreign files beside the blobs do not stop the copy."""
    first, last = DirectoryBlobs(tmp_path / "first"), DirectoryBlobs(tmp_path / "last")
    made = await fill(first)
    (first.root / "lost+found").mkdir()
    (first.root / "files" / "Thumbs.db").write_bytes(b"")
    assert (
        await asyncio.to_thread(copy, Settings(data=tmp_path), str(first.root), str(last.root))
        == 0
    )
    assert "21 copied (9.0 MiB), 0 there already, 0 failed" in capsys.readouterr().out
    assert await content(last) == made


async def test_a_store_of_others_is_not_mixed_with_ours(tmp_path: Path) -> None:
    """Into the marked store of another database nothing is copied."""
    first, last = DirectoryBlobs(tmp_path / "first"), DirectoryBlobs(tmp_path / "last")
    await fill(first)
    await last.set_mark(b"another's")
    with pytest.raises(Conflict, match="another database"):
        await copy_all(first, last, tmp_path)
    assert await content(last) == {}


def test_what_cannot_be_begun(tmp_path: Path) -> None:
    """A store that is invalid, missing or given twice is an error before anything is done."""
    settings = Settings(data=tmp_path / "data")
    with pytest.raises(Invalid, match="FROM should be a folder or s3://"):
        copy(settings, "gs://bucket", str(tmp_path))
    with pytest.raises(Invalid, match="TO should be s3://bucket/prefix"):
        copy(settings, str(tmp_path), "s3://No")
    with pytest.raises(NotFound, match="is not a folder"):
        copy(settings, str(tmp_path / "nowhere"), str(tmp_path / "to"))
    with pytest.raises(Invalid, match="the same store"):
        copy(settings, str(tmp_path), f"{tmp_path}/")
    (tmp_path / "other").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match="cannot be used"):
        copy(settings, str(tmp_path / "other"), str(tmp_path / "file" / "to"))
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(Invalid, match="the same store"):
        copy(settings, str(tmp_path), str(tmp_path / "link"))
    for outer, inner in (
        (str(tmp_path), str(tmp_path / "to")),
        ("s3://bucket", "s3://bucket/a"),
        ("s3://bucket/a", "s3://bucket/a/b"),
    ):
        with pytest.raises(Invalid, match="TO lies within FROM"):
            copy(settings, outer, inner)
    assert not (tmp_path / "to").exists()
