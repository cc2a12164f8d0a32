"""What files are and what is in them: bytes in, plain data out.

Knows no Django, no file system, no network.

To teach Atelier another kind: add it to `table.PROCESSORS`, to `models.Kind` (with a migration),
and to `detect`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from atelier.files.inspectors.counts import Progress


class Found(NamedTuple):
    """What a file is."""

    kind: str
    content_type: str


class Task(msgspec.Struct, frozen=True, array_like=True):
    """What to look at, beside the bytes: what detection said, and the largest picture."""

    kind: str
    content_type: str
    pixels: int
    piece: bool = False  # the bytes are a part of a text, not a whole file
    last: bool = True  # no more of it will come


class Picture(msgspec.Struct, frozen=True):
    """A small picture of a file."""

    data: bytes
    content_type: str
    width: int
    height: int

    @property
    def extension(self) -> str:
        """For its blob key."""
        return self.content_type.rpartition("/")[2]


class Inspection(msgspec.Struct):
    """What was found.

    `result` is small, and JSON that PostgreSQL takes: no NUL, no lone surrogate, no infinity.
    """

    kind: str
    content_type: str
    result: dict[str, Any]
    thumbnail: Picture | None = None
    progress: Progress | None = None
