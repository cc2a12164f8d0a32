"""The port of the blob store: bytes under keys, written once and never changed.

Knows no table, user or picture.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Protocol

KEY_LIMIT = 255  # characters; below the limits of S3 (1024) and of Linux paths (4096)
SHARD_DIGITS = 3  # 4,096 folders per prefix: about 2,500 files in each at ten million blobs
RANDOM_BYTES = 16

_SEGMENT = r"[a-z0-9_-][a-z0-9._-]*"  # no leading dot: neither `..` nor a store's internal name
_KEY = re.compile(rf"{_SEGMENT}(/{_SEGMENT})*")
_PREFIX = re.compile(rf"({_SEGMENT}/)*({_SEGMENT})?")


class Stat(NamedTuple):
    """Size in bytes and time of writing, in UTC, of one blob."""

    key: str
    size: int
    modified: datetime


class Blobs(Protocol):
    """The operations of every store.

    `path` lets the HTTP layer send local files without reading them. A key that `check_key`
    refuses is a ValueError everywhere: keys are made by Atelier, never by a client.
    """

    async def put(self, key: str, source: bytes | Path) -> None:
        """Store `source` durably before returning; a source file is moved and gone afterwards.

        Raises Conflict when the key exists (that blob stays as it is) and Unavailable when there
        is no space.
        """

    async def get(self, key: str) -> bytes:
        """Return the whole blob. Raises NotFound."""

    def stream(
        self, key: str, start: int = 0, stop: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Yield the bytes from `start` up to but without `stop`, in pieces.

        Raises NotFound before the first piece.
        """

    async def stat(self, key: str) -> Stat:
        """Return size and time of one blob. Raises NotFound."""

    async def delete(self, keys: Iterable[str]) -> None:
        """Delete blobs durably; a missing one is no error."""

    def list(self, prefix: str = "") -> AsyncIterator[Stat]:
        """Yield every blob whose key begins with `prefix`, in no order and in flat memory.

        Foreign files whose names are no keys (`lost+found`, `Thumbs.db`) are skipped.
        """

    async def sweep_temporary(self, older_than: timedelta) -> int:
        """Remove unfinished files that have not been written to for that long; return how many.

        Killed processes leave them.
        """

    async def probe(self) -> None:
        """Raise Unavailable when nothing can be written right now.

        Costs little and leaves nothing behind.
        """

    async def mark(self) -> bytes | None:
        """Return the text that `set_mark` stored, or None. Raises Unavailable.

        It is no blob.
        """

    async def set_mark(self, content: bytes) -> None:
        """Store or replace the text that says whose store this is. Raises Unavailable."""

    def path(self, key: str) -> Path | None:
        """The blob's path on this machine, existing or not; None when the store is remote."""


def is_key(name: str) -> bool:
    """Return whether it is a relative path of safe names, as every key is."""
    return len(name) <= KEY_LIMIT and _KEY.fullmatch(name) is not None


def check_key(key: str) -> str:
    """Return the key. Raises ValueError for an invalid one."""
    if not is_key(key):
        raise ValueError(f"not a blob key: {key!r}")
    return key


def check_prefix(prefix: str) -> str:
    """Return the prefix. Raises ValueError when no key can begin with it."""
    if len(prefix) > KEY_LIMIT or not _PREFIX.fullmatch(prefix):
        raise ValueError(f"not a blob prefix: {prefix!r}")
    return prefix


def new_key(prefix: str, suffix: str) -> str:
    """Make a unique key that cannot be guessed: `images/3fa/9c...e1-original.jpg`."""
    return new_keys(prefix, [suffix])[0]


def new_keys(prefix: str, suffixes: Iterable[str]) -> list[str]:
    """Make such keys for blobs stored together, in one folder.

    A new folder has to be made durable too, so one is cheaper than several.
    """
    name = secrets.token_hex(RANDOM_BYTES)
    return [
        check_key(f"{prefix}/{name[:SHARD_DIGITS]}/{name[SHARD_DIGITS:]}-{suffix}")
        for suffix in suffixes
    ]
