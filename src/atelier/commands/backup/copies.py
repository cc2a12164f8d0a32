"""Copies blobs from one store to another, each with its digest.

Knows no backup and no database.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from atelier.blobs import Blobs
from atelier.errors import NotFound

# As many as the directory store has threads: most of the time is waiting for a disk or a network
AT_ONCE = 16


class Wanted(NamedTuple):
    """A blob to be copied.

    `expected` is the digest of the original (None: unknown), `known` that of an existing copy
    (None: it has to be computed).
    """

    key: str
    expected: str | None
    known: str | None = None


class Copy(NamedTuple):
    """A blob in the target; `sha256` None: the source does not have it."""

    key: str
    expected: str | None
    sha256: str | None
    size: int = 0
    new: bool = False

    @property
    def corrupt(self) -> bool:
        """Return whether the copy differs from its expected digest."""
        return None not in {self.expected, self.sha256} and self.sha256 != self.expected


async def copy(
    source: Blobs, target: Blobs, scratch: Path, wanted: Iterable[Wanted]
) -> AsyncIterator[Copy]:
    """Copy blobs that the target lacks; yield every blob's copy, in the order of `wanted`.

    `scratch` is a folder for blobs in transit. A corrupt copy in the target is replaced.
    """
    todo = iter(wanted)
    while window := list(islice(todo, AT_ONCE)):
        for made in await asyncio.gather(
            *(_one(source, target, scratch, each) for each in window)
        ):
            yield made


async def _one(source: Blobs, target: Blobs, scratch: Path, wanted: Wanted) -> Copy:
    key, expected, known = wanted
    with suppress(NotFound):
        size = (await target.stat(key)).size
        sha256 = known or await digest_of(target, key)
        if expected in {None, sha256}:
            return Copy(key, expected, sha256, size)
        await target.delete([key])
    try:
        sha256, size = await fetch(source, target, scratch, key)
    except NotFound:
        return Copy(key, expected, None)
    return Copy(key, expected, sha256, size, new=True)


async def fetch(source: Blobs, target: Blobs, scratch: Path, key: str) -> tuple[str, int]:
    """Copy one blob by way of a file in `scratch`; return SHA-256 and size of the source's bytes.

    Raises NotFound.
    """
    digest, size = hashlib.sha256(), 0
    # Should this process be killed, the sweep of uploads removes files of this suffix.
    descriptor, name = tempfile.mkstemp(".upload", dir=scratch)
    try:
        with os.fdopen(descriptor, "wb") as file:
            async for piece in source.stream(key):
                digest.update(piece)
                size += file.write(piece)
        await target.put(key, Path(name))
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)  # noqa: PTH108 - a name, not a path; one system call
    return digest.hexdigest(), size


async def digest_of(blobs: Blobs, key: str) -> str:
    """Return the SHA-256 of a stored blob, in hex. Raises NotFound."""
    digest = hashlib.sha256()
    async for piece in blobs.stream(key):
        digest.update(piece)
    return digest.hexdigest()


class Known:
    """Digests looked up in a sorted list, in the list's order; flat memory."""

    def __init__(self, lines: Iterator[tuple[str, str]]) -> None:
        self._lines = lines
        self._next = next(lines, None)

    def __call__(self, key: str) -> str | None:
        """Return the digest of this key, which must follow every key of earlier calls."""
        while self._next is not None and self._next[0] < key:
            self._next = next(self._lines, None)
        return self._next[1] if self._next is not None and self._next[0] == key else None
