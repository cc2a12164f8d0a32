"""Compressed streams in a row are read in linear time: what decompressors are given is counted."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
from typing import Any

import pytest

from atelier.files.inspectors.archive import CHUNK_BYTES, FIRST_BYTES, OPENERS, Stream

PACK = {
    "application/gzip": gzip.compress,
    "application/x-bzip2": bz2.compress,
    "application/x-xz": lzma.compress,
}
NOISE = random.Random(7).randbytes(3 * CHUNK_BYTES)


class Weighed:
    """A decompressor that adds up the bytes that it is given."""

    given = 0

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def decompress(self, data: bytes, limit: int) -> bytes:
        """Unpack."""
        Weighed.given += len(data)
        made: bytes = self._inner.decompress(data, limit)
        return made


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("content", [b"", b"a line\n", NOISE[:5000], NOISE])
def test_streams_in_a_row_are_read_once(kind: str, content: bytes) -> None:
    """Nothing is handed over again and again for each stream that follows."""
    packed = PACK[kind](content)
    count = min(5_000, 4_000_000 // len(packed))
    Weighed.given = 0
    stream = Stream(packed * count, lambda: Weighed(OPENERS[kind]()))
    digest = 0
    while part := stream.read(1000):
        digest += len(part)
    assert (stream.members, digest) == (count, count * len(content))
    assert Weighed.given <= 2 * count * (len(packed) + FIRST_BYTES)


@pytest.mark.parametrize("kind", PACK)
def test_different_streams_are_one_file(kind: str) -> None:
    """Whatever their sizes and levels; what is padding after them is none of it."""
    pieces = [NOISE[:size] for size in (0, 1, FIRST_BYTES, CHUNK_BYTES, 0, 2 * CHUNK_BYTES + 7)]
    data = b"".join(map(PACK[kind], pieces))
    for padding in (b"", bytes(512), b"rubbish"):
        assert Stream(data + padding, OPENERS[kind]).read(1 << 24) == b"".join(pieces)
