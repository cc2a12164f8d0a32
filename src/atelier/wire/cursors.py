"""Cursors of keyset pages: opaque to clients, and bound to a list and its filters.

A page begins below an id, so the last one costs what the first one does.
"""

from __future__ import annotations

import base64
import hashlib
import struct

_CURSOR = struct.Struct(">q6s")  # the id below which the page begins, the digest of the list


class Unreadable(ValueError):
    """The text is no cursor."""


class Foreign(ValueError):
    """The cursor belongs to another list or other filters."""


def encode(last_id: int, listed: tuple[object, ...]) -> str:
    """The cursor of the page below `last_id`; `listed` is the list and its filters."""
    packed = _CURSOR.pack(last_id, _digest(listed))
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def decode(cursor: str, listed: tuple[object, ...]) -> int:
    """The id that `encode` was given. Raises Unreadable, and Foreign for another `listed`."""
    try:
        text = cursor.encode(errors="replace") + b"="
        last_id, digest = _CURSOR.unpack(base64.b64decode(text, b"-_", validate=True))
    except (ValueError, struct.error):
        raise Unreadable from None
    if digest != _digest(listed):
        raise Foreign
    return int(last_id)


def _digest(listed: tuple[object, ...]) -> bytes:
    """Six bytes: not a signature, only a guard against mistakes.

    A cursor leads to nothing but rows that its sender may read.
    """
    return hashlib.blake2b(repr(listed).encode(errors="replace"), digest_size=6).digest()
