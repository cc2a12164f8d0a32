"""Inspectors tell what a file is and what it contains: bytes in, plain data out.

They know no Django, no file system, no network. To add a kind, add it to `table.PROCESSORS`, to
`models.Kind` (with a migration), and to `detect`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from atelier.files.inspectors.counts import Progress


class Found(NamedTuple):
    """The kind and media type of a file."""

    kind: str
    content_type: str


class Task(msgspec.Struct, frozen=True, array_like=True):
    """The input of an inspector beside the bytes.

    The detected type, the largest picture, and the languages that texts are expected in.
    """

    kind: str
    content_type: str
    pixels: int
    piece: bool = False  # the bytes are a part of a text, not a whole file
    last: bool = True  # no more of it will come
    languages: tuple[str, ...] = ("ru", "en")


class Picture(msgspec.Struct, frozen=True):
    """A small picture of a file."""

    data: bytes
    content_type: str
    width: int
    height: int

    @property
    def extension(self) -> str:
        """The suffix of its blob key."""
        return self.content_type.rpartition("/")[2]


class Inspection(msgspec.Struct):
    """The outcome of an inspection.

    `result` is small, and JSON that PostgreSQL accepts: no NUL, no lone surrogate, no infinity.
    """

    kind: str
    content_type: str
    result: dict[str, Any]
    thumbnail: Picture | None = None
    progress: Progress | None = None
