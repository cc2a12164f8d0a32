"""Reads the directories of TIFF, which EXIF uses too: tags and their values, never pixels.

Written for hostile bytes: every count and offset is bounded, a loop of directories ends, and an
unreadable value is absent.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from atelier.imaging.identify.budget import Budget

# Tag types by number: (struct code, bytes). 5 and 10 are rationals and are read as two integers.
TYPES: dict[int, tuple[str, int]] = {
    1: ("B", 1),
    2: ("s", 1),
    3: ("H", 2),
    4: ("I", 4),
    5: ("II", 8),
    6: ("b", 1),
    7: ("s", 1),
    8: ("h", 2),
    9: ("i", 4),
    10: ("ii", 8),
    11: ("f", 4),
    12: ("d", 8),
    13: ("I", 4),
    16: ("Q", 8),
    17: ("q", 8),
    18: ("Q", 8),
    129: ("s", 1),
}
ASCII, UNDEFINED = 2, 7
UTF8 = 129  # of EXIF 3.0
RATIONALS = (5, 10)
TEXTS = (ASCII, UNDEFINED, UTF8)

# More entries than any writer makes; a directory of 65,535 is a denial-of-service attack.
MAX_ENTRIES = 1_000
# Values read of one tag: enough for every tag in use, except profiles, which are read as bytes.
MAX_VALUES = 16
MAX_DIRECTORIES = 10_000

Value = int | float
Entry = tuple[int, int, int]  # type, count, offset of the value in the file


class NotTiff(ValueError):
    """The bytes do not start like a TIFF."""


@dataclass(frozen=True, slots=True)
class Tiff:
    """The directories of a TIFF or an EXIF block."""

    data: bytes
    order: str  # "<" or ">", as struct writes byte order
    big: bool
    first: int
    budget: Budget = field(default_factory=Budget)

    @classmethod
    def open(cls, data: bytes, budget: Budget) -> Tiff:
        """Reads the eight (BigTIFF: sixteen) bytes of the header."""
        order = {b"II": "<", b"MM": ">"}.get(data[:2])
        if order is None or len(data) < 8:
            raise NotTiff("no byte order mark")
        version, first = struct.unpack(order + "HI", data[2:8])
        if version == 43 and len(data) >= 16:
            return cls(data, order, True, struct.unpack(order + "Q", data[8:16])[0], budget)
        if version != 42:
            raise NotTiff("no TIFF version")
        return cls(data, order, False, first, budget)

    def directory(self, offset: int) -> dict[int, Entry]:
        """Returns the tags of the directory at `offset`, as far as the budget reaches."""
        start, count = self._entries(offset)
        entry_code, size, width = ("HHQ", 20, 8) if self.big else ("HHI", 12, 4)
        tags: dict[int, Entry] = {}
        for place in range(start, start + min(count, MAX_ENTRIES) * size, size):
            if place + size > len(self.data) or not self.budget.spend():
                break
            tag, kind, values = struct.unpack_from(self.order + entry_code, self.data, place)
            tags.setdefault(tag, (kind, values, place + size - width))
        return tags

    def pages(self) -> Iterator[int]:
        """Yields where each directory of the file is, as far as they and the budget reach."""
        seen: set[int] = set()
        offset = self.first
        while offset and offset not in seen and len(seen) < MAX_DIRECTORIES:
            # Without its entries: pages may overlap, and each claim thousands of the same ones.
            start, count = self._entries(offset)
            size, code = (20, "Q") if self.big else (12, "I")
            if not count or start + size > len(self.data) or not self.budget.spend():
                break
            seen.add(offset)
            yield offset
            end = start + count * size
            if end + struct.calcsize("<" + code) > len(self.data):
                break
            (offset,) = struct.unpack_from(self.order + code, self.data, end)

    def count_directories(self) -> int:
        """The number of pages in the file, as far as they and the budget can be followed."""
        return max(1, sum(1 for _ in self.pages()))

    def _entries(self, offset: int) -> tuple[int, int]:
        """Where the entries of the directory at `offset` begin, and how many it claims."""
        code, width = ("Q", 8) if self.big else ("H", 2)
        if offset + width > len(self.data):
            return offset, 0
        return offset + width, struct.unpack_from(self.order + code, self.data, offset)[0]

    def raw(self, entry: Entry | None, limit: int) -> bytes:
        """At most `limit` bytes of a value; empty if the value is not inside the file."""
        if entry is None or entry[0] not in TYPES:
            return b""
        kind, count, place = entry
        size = count * TYPES[kind][1]
        width = 8 if self.big else 4
        if size > width:
            # A value that does not fit into its entry is elsewhere, at the offset in its place.
            (place,) = struct.unpack_from(
                self.order + ("Q" if self.big else "I"), self.data, place
            )
        return (
            self.data[place : place + min(size, limit)] if place + size <= len(self.data) else b""
        )

    def numbers(self, entry: Entry | None) -> list[Value]:
        """A value as numbers; a rational is one float, and one over zero is no number (NaN)."""
        if entry is None or entry[0] not in TYPES or entry[0] in TEXTS:
            return []
        code, size = TYPES[entry[0]]
        data = self.raw(entry, MAX_VALUES * size)
        flat = struct.unpack(f"{self.order}{len(data) // size * len(code)}{code[0]}", data)
        if entry[0] not in RATIONALS:
            return list(flat)
        pairs = zip(flat[::2], flat[1::2], strict=True)
        return [top / bottom if bottom else math.nan for top, bottom in pairs]

    def number(self, entry: Entry | None, default: int = 0) -> int:
        """The first number of a value, as an integer."""
        numbers = self.numbers(entry)
        return int(numbers[0]) if numbers and isinstance(numbers[0], int) else default
