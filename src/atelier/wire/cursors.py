"""Cursors of keyset pages: opaque to clients, and bound to a list and its filters.

A page begins behind a position, an id or a moment with an id, so the last one costs what the first
one does.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Sequence

_NUMBER, _DIGEST_BYTES = struct.Struct(">q"), 6  # of a position; of the list and its filters


class Unreadable(ValueError):
    """The text is no cursor."""


class Foreign(ValueError):
    """The cursor belongs to another list or other filters."""


def encode(position: Sequence[int], listed: tuple[object, ...]) -> str:
    """The cursor of the page behind a position, 1 or 2 numbers of 64 bits.

    `listed` is the list and its filters.
    """
    return _written(b"".join(map(_NUMBER.pack, position)) + _digest(listed))


def decode(cursor: str, listed: tuple[object, ...], numbers: int = 1) -> tuple[int, ...]:
    """The position that `encode` was given, of so many numbers.

    Raises Unreadable, and Foreign for another `listed`.
    """
    try:
        text = cursor.encode(errors="replace") + b"=" * (-len(cursor) % 4)
        packed = base64.b64decode(text, b"-_", validate=True)
    except ValueError:
        raise Unreadable from None
    if len(packed) != _NUMBER.size * numbers + _DIGEST_BYTES or _written(packed) != cursor:
        raise Unreadable
    if packed[-_DIGEST_BYTES:] != _digest(listed):
        raise Foreign
    return tuple(number for (number,) in _NUMBER.iter_unpack(packed[:-_DIGEST_BYTES]))


def _written(packed: bytes) -> str:
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def _digest(listed: tuple[object, ...]) -> bytes:
    """Six bytes: not a signature, only a guard against mistakes.

    A cursor leads to nothing but rows that its sender may read.
    """
    return hashlib.blake2b(
        repr(listed).encode(errors="replace"), digest_size=_DIGEST_BYTES
    ).digest()
