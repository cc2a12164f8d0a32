"""Promises of every blob store."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atelier.blobs import KEY_LIMIT, check_key, new_key, new_keys
from atelier.blobs.directory import DirectoryBlobs
from atelier.blobs.s3 import S3Blobs
from atelier.errors import Conflict, NotFound

if TYPE_CHECKING:
    from pathlib import Path

    from atelier.blobs import Blobs

BAD_KEYS = [
    "",
    "/etc/passwd",
    "../secret",
    "images/../../secret",
    "images/./a",
    "images//a",
    "images/",
    ".incoming/a",
    "images/.hidden",
    "images\\a",
    "images/a\n",
    "images/a\0b",
    "Images/a",
    "images/ü",
    "a" * (KEY_LIMIT + 1),
]


async def test_put_then_get(blobs: Blobs) -> None:
    """Reading gives what was put."""
    await blobs.put("images/a.jpg", b"picture")
    assert await blobs.get("images/a.jpg") == b"picture"


async def test_empty_blob(blobs: Blobs) -> None:
    """A blob may have no bytes at all."""
    await blobs.put("empty", b"")
    assert (await blobs.get("empty"), (await blobs.stat("empty")).size) == (b"", 0)
    assert [chunk async for chunk in blobs.stream("empty")] == []


async def test_put_takes_a_file_over(blobs: Blobs, tmp_path: Path) -> None:
    """A file that was put is a blob and is no longer where it was."""
    source = tmp_path / "upload"
    source.write_bytes(b"x" * 100_000)
    await blobs.put("files/a", source)
    assert await blobs.get("files/a") == b"x" * 100_000
    assert not source.exists()


async def test_a_missing_source_stores_nothing(blobs: Blobs, tmp_path: Path) -> None:
    """A file that does not exist is the caller's mistake and makes no blob."""
    with pytest.raises(FileNotFoundError):
        await blobs.put("files/a", tmp_path / "nothing")
    assert [stat async for stat in blobs.list()] == []


@pytest.mark.parametrize("as_file", [False, True])
async def test_an_existing_blob_is_never_changed(
    blobs: Blobs, tmp_path: Path, *, as_file: bool
) -> None:
    """The second put of a key is a Conflict and changes neither the blob nor the source."""
    source = tmp_path / "second"
    source.write_bytes(b"second")
    await blobs.put("a", b"first")
    with pytest.raises(Conflict):
        await blobs.put("a", source if as_file else b"second")
    assert await blobs.get("a") == b"first"
    assert source.exists()


async def test_of_concurrent_puts_of_one_key_one_wins(blobs: Blobs) -> None:
    """Of many writers of one key exactly one succeeds, and its bytes are what is stored."""
    contents = [bytes([number]) * 50_000 for number in range(20)]
    results = await asyncio.gather(
        *(blobs.put("shared/a", c) for c in contents), return_exceptions=True
    )
    winners = [
        content for content, result in zip(contents, results, strict=True) if result is None
    ]
    assert [await blobs.get("shared/a")] == winners
    assert sum(isinstance(result, Conflict) for result in results) == len(contents) - 1


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, None), (0, 0), (0, 1), (299_999, None), (100_000, 290_000), (5, 10**9), (10**9, None)],
)
async def test_stream_is_a_slice(blobs: Blobs, start: int, stop: int | None) -> None:
    """A stream gives the bytes of the slice `start:stop`, also where it ends past the blob."""
    content = bytes(range(250)) * 1200
    await blobs.put("a", content)
    assert (
        b"".join([chunk async for chunk in blobs.stream("a", start, stop)]) == content[start:stop]
    )


async def test_a_stream_survives_deletion(blobs: Blobs) -> None:
    """A reader that has begun gets the whole blob although it is deleted meanwhile."""
    content = b"x" * 1_000_000
    await blobs.put("a", content)
    stream = blobs.stream("a")
    head = await anext(stream)
    await blobs.delete(["a"])
    assert head + b"".join([chunk async for chunk in stream]) == content


async def test_stat(blobs: Blobs) -> None:
    """A blob's size and time of writing, in UTC, are known."""
    await blobs.put("a/b", b"12345")
    stat = await blobs.stat("a/b")
    assert (stat.key, stat.size, stat.modified.tzinfo) == ("a/b", 5, UTC)
    assert abs(stat.modified - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize("key", ["missing", "a/missing", "a", "a/b/below-a-blob"])
async def test_missing_blobs(blobs: Blobs, key: str) -> None:
    """Whatever is no blob is NotFound: a free key, a folder, a key below a blob."""
    await blobs.put("a/b", b"")
    with pytest.raises(NotFound):
        await blobs.get(key)
    with pytest.raises(NotFound):
        await blobs.stat(key)
    with pytest.raises(NotFound):
        await anext(blobs.stream(key))


async def test_delete(blobs: Blobs) -> None:
    """Deleted blobs are gone, missing ones are no error, others stay, and keys are free again."""
    for key in ("a/1", "a/2", "b"):
        await blobs.put(key, b"old")
    await blobs.delete(["a/1", "missing", "a/1", "a/1/below", "b"])
    assert [stat.key async for stat in blobs.list()] == ["a/2"]
    await blobs.put("a/1", b"new")
    assert await blobs.get("a/1") == b"new"


async def test_delete_nothing(blobs: Blobs) -> None:
    """No keys are no work."""
    await blobs.delete([])
    assert [stat async for stat in blobs.list()] == []


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("", {"a", "ab/c", "ab/d/e", "abc", "b/a"}),
        ("a", {"a", "ab/c", "ab/d/e", "abc"}),
        ("ab", {"ab/c", "ab/d/e", "abc"}),
        ("ab/", {"ab/c", "ab/d/e"}),
        ("ab/d/e", {"ab/d/e"}),
        ("ab/x/y", set()),
        ("a/x", set()),
    ],
)
async def test_list(blobs: Blobs, prefix: str, expected: set[str]) -> None:
    """A list holds the blobs whose keys begin with the prefix, each once."""
    for key in ("a", "ab/c", "ab/d/e", "abc", "b/a"):
        await blobs.put(key, key.encode())
    found = [(stat.key, stat.size) async for stat in blobs.list(prefix)]
    assert sorted(found) == sorted((key, len(key)) for key in expected)


async def test_strangers_are_no_blobs(blobs: Blobs) -> None:
    """Foreign objects whose names are no keys are not listed: no call could read them."""
    await blobs.put("images/a", b"")
    for name in ("Thumbs.db", "lost+found/#123", "images/a copy.jpg"):
        await leave(blobs, name)
    assert [stat.key async for stat in blobs.list()] == ["images/a"]


async def leave(blobs: Blobs, name: str) -> None:
    """Put something into the store behind its back."""
    if isinstance(blobs, S3Blobs):
        blobs._store.put(name, b"stranger")
        return
    assert isinstance(blobs, DirectoryBlobs)
    path = blobs.root / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"stranger")


@pytest.mark.parametrize("key", BAD_KEYS)
async def test_unsafe_keys_are_refused(blobs: Blobs, key: str) -> None:
    """No method takes a key that could lead out of the store or to a name of its own."""
    with pytest.raises(ValueError, match="not a blob key"):
        await blobs.put(key, b"")
    with pytest.raises(ValueError, match="not a blob key"):
        await blobs.get(key)
    with pytest.raises(ValueError, match="not a blob key"):
        await blobs.stat(key)
    with pytest.raises(ValueError, match="not a blob key"):
        await anext(blobs.stream(key))
    with pytest.raises(ValueError, match="not a blob key"):
        await blobs.delete([key])
    with pytest.raises(ValueError, match="not a blob key"):
        blobs.path(key)


@pytest.mark.parametrize("prefix", ["/", "..", "../", "a/../", ".incoming", "A"])
async def test_unsafe_prefixes_are_refused(blobs: Blobs, prefix: str) -> None:
    """A list never looks outside of the store."""
    with pytest.raises(ValueError, match="not a blob prefix"):
        await anext(blobs.list(prefix))


@given(st.text())
def test_accepted_keys_are_plain_relative_paths(text: str) -> None:
    """An accepted key has no part that is empty, `.` or `..` and is not absolute."""
    try:
        key = check_key(text)
    except ValueError:
        return
    assert not {"", ".", ".."} & set(key.split("/"))


def test_new_keys_are_sharded_and_distinct() -> None:
    """New keys are never equal and spread over folders of three hexadecimal digits."""
    keys = {new_key("images", "original.jpg") for _ in range(1000)}
    assert len(keys) == 1000
    prefix, shard, name = next(iter(keys)).split("/")
    assert (prefix, len(shard), name.endswith("-original.jpg")) == ("images", 3, True)


def test_keys_of_what_is_stored_together_share_a_folder() -> None:
    """They differ by their suffixes alone."""
    small, gray = new_keys("images", ["small.jpg", "gray.jpg"])
    assert small.removesuffix("small.jpg") == gray.removesuffix("gray.jpg")
    assert small != gray


@pytest.mark.parametrize("suffix", ["/../x", "Größe", "a/.b", "a\n"])
def test_new_keys_are_checked(suffix: str) -> None:
    """A suffix cannot smuggle anything into a key."""
    with pytest.raises(ValueError, match="not a blob key"):
        new_key("images", suffix)


async def test_a_probe_leaves_nothing(blobs: Blobs) -> None:
    """Asking whether the store can be written, again and again, makes no blob."""
    await blobs.probe()
    await blobs.probe()
    assert [stat async for stat in blobs.list()] == []


async def test_a_mark_is_no_blob(blobs: Blobs) -> None:
    """A store has no mark at first, then the last one set, which its list does not show."""
    assert await blobs.mark() is None
    await blobs.set_mark(b"first")
    await blobs.set_mark(b"second")
    assert await blobs.mark() == b"second"
    assert [stat async for stat in blobs.list()] == []
