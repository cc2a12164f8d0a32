"""Whole JPEGs that a strict decoder refuses: what their pixels need, and if it is all there.

Cameras, phones and scanners write profiles with wrong numbers, bytes of their own behind the last
row, or no end marker. None of that is of the picture. Decodes nothing itself.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator

from atelier.imaging.errors import BadPicture
from atelier.imaging.identify.budget import Budget
from atelier.imaging.pixels import Pixels

ENDS_EARLY = "The picture ends before its last row."
START, END = b"\xff\xd8", b"\xff\xd9"
SCAN, ADOBE = 0xDA, 0xEE
# Segments that pixels are made from: frames, tables, restart interval, scans, colour transform.
# JFIF counts, too: it says that the colours are YCbCr.
NEEDED = frozenset((*range(0xC0, 0xD0), 0xDA, 0xDB, 0xDD, 0xE0, ADOBE))
# Segments that may stand between two scans besides.
BESIDE = frozenset((*range(0xE0, 0xF0), 0xFE))
# A marker within a scan: not a stuffed zero, not the number of a restart. Fill bytes before it.
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
# Arithmetic coding leaves the zeros at the end of a scan out, so that nothing can stand there.
ARITHMETIC = frozenset(range(0xC9, 0xD0))
# Entropy-coded data of no picture, long enough to change pixels wherever it is read.
FILLER = bytes(range(1, 255)) * 2


def essentials(picture: bytes, filler: bytes = b"") -> bytes:
    """The JPEG without what its pixels do not need, with an end marker, and `filler` after scans.

    Ends at the first bytes behind a scan that are no segment.

    Raises:
        BadPicture: it has more segments than a header may.
    """
    parts = [START]
    for marker, segment, scan in _segments(picture, Budget()):
        if marker in ARITHMETIC:
            filler = b""
        if marker in NEEDED:
            parts += [segment, scan, filler] if marker == SCAN else [segment]
    return b"".join((*parts, END))


def _segments(picture: bytes, budget: Budget) -> Iterator[tuple[int, bytes, bytes]]:
    """Yields (marker, segment with its marker, the scan's data behind it)."""
    place, scanned = len(START), False
    while found := _MARKER.search(picture, place):
        if not budget.spend():
            raise BadPicture("The picture has too many segments.")
        marker, start = found[1][0], found.end(1)
        length = int.from_bytes(picture[start : start + 2])
        stop = start + length
        if length < 2 or stop > len(picture) or (scanned and marker not in NEEDED | BESIDE):
            return
        scan = b""
        if marker == SCAN:
            end = _MARKER.search(picture, stop)
            place = end.start() if end else len(picture)
            # Half a marker at the end of the file would make one of what is put behind it.
            scan, scanned = picture[stop:place].rstrip(b"\xff"), True
        else:
            place = stop
        yield marker, b"\xff" + picture[start - 1 : stop], scan


def require_whole(picture: bytes, decode: Callable[[bytes], Pixels]) -> Pixels:
    """Decodes a JPEG whose decoder complains, and makes sure that no scan ends early.

    A decoder that runs out of data makes up the rest. Where a scan ends early, other bytes put
    behind it become pixels; where it is whole, nobody reads them.

    Raises:
        BadPicture: a scan ends early, or what `decode` raises.
    """
    wanted = zlib.crc32(decode(essentials(picture, FILLER)).data)
    pixels = decode(essentials(picture))
    if zlib.crc32(pixels.data) != wanted:
        raise BadPicture(ENDS_EARLY)
    return pixels
