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
SHARD_DIGITS = 3  # 4,096 folders per prefix: some 2,500 files in each at ten million blobs
RANDOM_BYTES = 16

_SEGMENT = r"[a-z0-9_-][a-z0-9._-]*"  # no leading dot: neither `..` nor a name of the store's own
_KEY = re.compile(rf"{_SEGMENT}(/{_SEGMENT})*")
_PREFIX = re.compile(rf"({_SEGMENT}/)*({_SEGMENT})?")


class Stat(NamedTuple):
    """What the store knows of one blob: its size in bytes and when it was written, in UTC."""

    key: str
    size: int
    modified: datetime


class Blobs(Protocol):
    """What every store does, and `path`, which lets the HTTP layer send local files without reading them.

    A key that `check_key` refuses is a ValueError everywhere: keys are made by Atelier, never by a
    client.
    """

    async def put(self, key: str, source: bytes | Path) -> None:
        """Store `source` for good before returning; a file is taken over and is gone afterwards.

        Raises Conflict when the key exists (that blob stays as it is) and Unavailable when there
        is no space.
        """

    async def get(self, key: str) -> bytes:
        """The whole blob. Raises NotFound."""

    def stream(
        self, key: str, start: int = 0, stop: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The bytes from `start` up to but without `stop`, in pieces.

        Raises NotFound before the first piece.
        """

    async def stat(self, key: str) -> Stat:
        """Size and time of one blob. Raises NotFound."""

    async def delete(self, keys: Iterable[str]) -> None:
        """Remove blobs for good; one that is missing is no error."""

    def list(self, prefix: str = "") -> AsyncIterator[Stat]:
        """Every blob whose key begins with `prefix`, in no particular order and in flat memory.

        What others have put there under a name that is no key (`lost+found`, `Thumbs.db`) is no
        blob.
        """

    async def sweep_temporary(self, older_than: timedelta) -> int:
        """Remove what killed processes left unfinished and nobody has written to for that long.

        How many.
        """

    async def probe(self) -> None:
        """Raises Unavailable when nothing can be written right now.

        Costs little and leaves nothing behind.
        """

    async def mark(self) -> bytes | None:
        """What `set_mark` left, which is no blob; None when nobody has. Raises Unavailable."""

    async def set_mark(self, content: bytes) -> None:
        """Say whose store this is, in place of what was said before. Raises Unavailable."""

    def path(self, key: str) -> Path | None:
        """Where the blob lies, or would lie, on this machine; None when the store is elsewhere."""


def is_key(name: str) -> bool:
    """Whether it is a relative path of safe names, as every key of ours is."""
    return len(name) <= KEY_LIMIT and _KEY.fullmatch(name) is not None


def check_key(key: str) -> str:
    """The key itself. Raises ValueError when it is none."""
    if not is_key(key):
        raise ValueError(f"not a blob key: {key!r}")
    return key


def check_prefix(prefix: str) -> str:
    """The prefix itself. Raises ValueError when no key can begin so."""
    if len(prefix) > KEY_LIMIT or not _PREFIX.fullmatch(prefix):
        raise ValueError(f"not a blob prefix: {prefix!r}")
    return prefix


def new_key(prefix: str, suffix: str) -> str:
    """A key that nobody else has and nobody can guess: `images/3fa/9c...e1-original.jpg`."""
    return new_keys(prefix, [suffix])[0]


def new_keys(prefix: str, suffixes: Iterable[str]) -> list[str]:
    """Such keys for what is stored together, in one folder: a folder that is new has to be made durable, too."""
    name = secrets.token_hex(RANDOM_BYTES)
    return [
        check_key(f"{prefix}/{name[:SHARD_DIGITS]}/{name[SHARD_DIGITS:]}-{suffix}")
        for suffix in suffixes
    ]
