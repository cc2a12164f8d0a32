"""Reads HEIC and AVIF: the boxes of ISO/IEC 14496-12 that say what the primary picture is.

Written for hostile bytes, as its neighbours are: a box ends where the one around it does, and each
box, item and property costs a step of the budget.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor

from atelier.imaging.errors import BadPicture, NotAnImage
from atelier.imaging.identify.budget import Budget

BRANDS = frozenset(
    b"heic heix heim heis hevc hevx mif1 mif2 msf1 avif avis".split(),
)
BRANDS_LIMIT = 32  # read of one file
CODECS = {b"hvc1": "HEIC", b"av01": "AVIF"}
# Pictures that are put together of others: a grid, a turned one, one upon another.
DERIVED = frozenset((b"grid", b"iden", b"iovl"))
ALPHA = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")
MAX_EXIF_BYTES = 1 << 20
TOO_MANY = "A picture of too many boxes."
# The EXIF orientation of a picture turned counter-clockwise by so many quarters (irot) and then
# flipped upside down, left to right, or not at all (imir).
ORIENTATIONS = {
    (0, None): 1, (1, None): 8, (2, None): 3, (3, None): 6,
    (0, 0): 4, (1, 0): 5, (2, 0): 2, (3, 0): 7,
    (0, 1): 2, (1, 1): 7, (2, 1): 4, (3, 1): 5,
}  # fmt: skip


@dataclass(slots=True)
class Primary:
    """What the boxes say of the primary picture; sides in pixels before it is turned."""

    codec: str
    coded: tuple[int, int] = (0, 0)
    # Left, top, width, height: the part of the coded picture that is shown.
    shown: tuple[int, int, int, int] = (0, 0, 0, 0)
    orientation: int = 1
    bits: int = 8
    channels: int = 3
    alpha: bool = False
    icc: bytes = b""
    exif: bytes = b""
    frames: int = 1


@dataclass(frozen=True, slots=True)
class Box:
    """A box: its type, and where its content is."""

    kind: bytes
    start: int
    end: int


@dataclass(slots=True)
class Meta:
    """The tables of a `meta` box."""

    primary: int = 0
    kinds: dict[int, bytes] = field(default_factory=dict)
    properties: list[Box] = field(default_factory=list)
    owned: dict[int, list[int]] = field(default_factory=dict)
    # (type, from, to) of each reference.
    references: list[tuple[bytes, int, int]] = field(default_factory=list)
    locations: Box | None = None
    data: Box | None = None


def is_boxed(data: bytes) -> bool:
    """True if `data` starts like a HEIC or AVIF file, by any of its brands."""
    if data[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(data[:4]), 16 + 4 * BRANDS_LIMIT, len(data))
    return any(data[at : at + 4] in BRANDS for at in (8, *range(16, end - 3, 4)))


class Reader:
    """Reads within a budget, of which every box, item, property and reference takes a step."""

    def __init__(self, data: bytes, budget: Budget) -> None:
        self.data, self.budget = data, budget

    def step(self) -> None:
        """Raises BadPicture at the end of the budget: what is not reached may be the size."""
        if not self.budget.spend():
            raise BadPicture(TOO_MANY)

    def children(self, start: int, end: int) -> Iterator[Box]:
        """Yields the boxes between two places; the last may claim more than there is."""
        while start + 8 <= end:
            self.step()
            size, kind = struct.unpack_from(">I4s", self.data, start)
            content = start + 8
            if size == 1:
                (size,) = struct.unpack_from(">Q", self.data, content)
                content += 8
            stop = end if size == 0 else start + size
            if stop < content:
                raise ValueError("size of a box")
            yield Box(kind, content, min(stop, end))
            start = stop

    def number(self, place: int, size: int) -> int:
        """A big-endian number of so many bytes."""
        if place + size > len(self.data):
            raise ValueError("a number behind the end")
        return int.from_bytes(self.data[place : place + size])

    def version(self, box: Box) -> int:
        """The version of a full box."""
        return self.number(box.start, 1)


def read_primary(data: bytes, budget: Budget) -> Primary:
    """What is said of the primary picture.

    Raises:
        NotAnImage: it is of a codec that is not decoded here, or there is none.
        BadPicture: it takes more than `budget`, or its boxes contradict each other.
        ValueError, struct.error: its boxes are damaged.
    """
    reader, meta, frames = Reader(data, budget), None, 1
    for box in reader.children(0, len(data)):
        if box.kind == b"meta" and meta is None:
            meta = _meta(reader, box)
        elif box.kind == b"moov":
            frames = max(frames, _frames(reader, box))
    if meta is None:
        raise NotAnImage("An HEIF file without a picture.")
    coder = _coder(meta)
    if meta.kinds.get(coder) not in CODECS:
        raise NotAnImage("An HEIF file whose picture is neither HEVC nor AV1.")
    found = Primary(CODECS[meta.kinds[coder]], frames=frames)
    # What a part says holds for the whole, as long as the whole says nothing itself.
    for item in dict.fromkeys((coder, meta.primary)):
        for box in _properties(meta, item):
            _apply(reader, found, box)
    _turn(reader, found, meta)
    found.alpha = _has_alpha(reader, meta)
    with suppress(ValueError, struct.error):
        found.exif = _exif(reader, meta)
    return found


def _meta(reader: Reader, box: Box) -> Meta:
    meta = Meta()
    for child in reader.children(box.start + 4, box.end):
        if child.kind == b"pitm":
            meta.primary = reader.number(child.start + 4, 4 if reader.version(child) else 2)
        elif child.kind == b"iinf":
            _items(reader, child, meta)
        elif child.kind == b"iprp":
            _tables(reader, child, meta)
        elif child.kind == b"iref":
            _references(reader, child, meta)
        elif child.kind == b"iloc":
            meta.locations = child
        elif child.kind == b"idat":
            meta.data = child
    return meta


def _items(reader: Reader, box: Box, meta: Meta) -> None:
    start = box.start + (8 if reader.version(box) else 6)
    for entry in reader.children(start, box.end):
        version = reader.version(entry)
        if entry.kind == b"infe" and version >= 2:
            size = 4 if version > 2 else 2
            at = entry.start + 4 + size + 2
            meta.kinds[reader.number(entry.start + 4, size)] = reader.data[at : at + 4]


def _tables(reader: Reader, box: Box, meta: Meta) -> None:
    for child in reader.children(box.start, box.end):
        if child.kind == b"ipco":
            meta.properties += reader.children(child.start, child.end)
        elif child.kind == b"ipma":
            _associations(reader, child, meta)


def _associations(reader: Reader, box: Box, meta: Meta) -> None:
    wide = reader.number(box.start + 3, 1) & 1
    size, mask = (2, 0x7FFF) if wide else (1, 0x7F)
    id_size = 4 if reader.version(box) else 2
    place = box.start + 8
    for _ in range(reader.number(box.start + 4, 4)):
        reader.step()
        item, count = reader.number(place, id_size), reader.number(place + id_size, 1)
        place += id_size + 1
        owned = meta.owned.setdefault(item, [])
        for _ in range(count):
            reader.step()
            owned.append(reader.number(place, size) & mask)
            place += size


def _references(reader: Reader, box: Box, meta: Meta) -> None:
    size = 4 if reader.version(box) else 2
    for child in reader.children(box.start + 4, box.end):
        source = reader.number(child.start, size)
        place = child.start + size + 2
        for at in range(reader.number(child.start + size, 2)):
            reader.step()
            target = reader.number(place + at * size, size)
            meta.references.append((child.kind, source, target))


def _frames(reader: Reader, box: Box) -> int:
    """The samples of the longest track of an animation."""
    inside = {b"trak", b"mdia", b"minf", b"stbl"}
    most, waiting = 1, [box]
    while waiting:
        outer = waiting.pop()
        for child in reader.children(outer.start, outer.end):
            if child.kind in inside:
                waiting.append(child)
            elif child.kind == b"stsz":
                most = max(most, reader.number(child.start + 8, 4))
    return most


def _coder(meta: Meta) -> int:
    """The item that a decoder makes the primary picture from: itself, or its first part."""
    if meta.kinds.get(meta.primary) not in DERIVED:
        return meta.primary
    wanted = (b"dimg", meta.primary)
    parts = (to for name, source, to in meta.references if (name, source) == wanted)
    return next(parts, meta.primary)


def _properties(meta: Meta, item: int) -> Iterator[Box]:
    """Yields the properties of an item; their numbers begin at 1."""
    for number in meta.owned.get(item, []):
        if 1 <= number <= len(meta.properties):
            yield meta.properties[number - 1]


def _apply(reader: Reader, found: Primary, box: Box) -> None:
    kind = box.kind
    if kind == b"ispe":
        found.coded = (reader.number(box.start + 4, 4), reader.number(box.start + 8, 4))
    elif kind == b"pixi":
        found.channels = reader.number(box.start + 4, 1)
        found.bits = reader.number(box.start + 5, 1)
    elif kind == b"hvcC":
        found.bits = max(found.bits, 8 + (reader.number(box.start + 17, 1) & 7))
    elif kind == b"av1C":
        flags = reader.number(box.start + 2, 1)
        found.bits = max(found.bits, 12 if flags & 0x20 else 10 if flags & 0x40 else 8)
    elif kind == b"colr" and reader.data[box.start : box.start + 4] in (b"prof", b"rICC"):
        found.icc = reader.data[box.start + 4 : box.end]


def _turn(reader: Reader, found: Primary, meta: Meta) -> None:
    """Which part is shown, and how: cropped, then turned, then flipped (ISO/IEC 23000-22)."""
    quarters, flip = 0, None
    found.shown = (0, 0, *found.coded)
    for box in _properties(meta, meta.primary):
        if box.kind == b"irot":
            quarters = reader.number(box.start, 1) & 3
        elif box.kind == b"imir":
            flip = reader.number(box.start, 1) & 1
        elif box.kind == b"clap":
            found.shown = _cropped(reader, box, *found.coded)
    found.orientation = ORIENTATIONS[quarters, flip]


def _cropped(reader: Reader, box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """The clean aperture, in whole pixels, within the coded picture."""
    if box.end - box.start < 32:
        raise ValueError("a short clean aperture")
    wide, high, right, down = (
        struct.unpack_from(code, reader.data, box.start + at)
        for code, at in ((">II", 0), (">II", 8), (">iI", 16), (">iI", 24))
    )
    left, across = _part(width, wide, right)
    top, along = _part(height, high, down)
    return left, top, across, along


def _part(side: int, size: tuple[int, int], offset: tuple[int, int]) -> tuple[int, int]:
    """Where a part of a side begins, and how long it is; sizes and offsets are fractions."""
    if not size[1] or not offset[1]:
        raise ValueError("a clean aperture over nought")
    # The centre of the part is `offset` from the centre of the side.
    start = floor(Fraction(side, 2) - Fraction(*size) / 2 + Fraction(*offset))
    end = start + floor(Fraction(*size) + Fraction(1, 2))
    start, end = min(max(0, start), side), min(side, end)
    return start, max(0, end - start)


def _has_alpha(reader: Reader, meta: Meta) -> bool:
    helpers = [src for name, src, to in meta.references if (name, to) == (b"auxl", meta.primary)]
    for helper in helpers:
        for box in _properties(meta, helper):
            reader.step()
            if box.kind == b"auxC" and reader.data[box.start + 4 : box.end].startswith(ALPHA):
                return True
    return False


def _exif(reader: Reader, meta: Meta) -> bytes:
    """The EXIF block of the primary picture, from its byte order mark on."""
    told = {src for name, src, to in meta.references if (name, to) == (b"cdsc", meta.primary)}
    items = sorted(item for item, kind in meta.kinds.items() if kind == b"Exif" and item in told)
    block = _content(reader, meta, items[0]) if items else b""
    return block[4 + int.from_bytes(block[:4]) :] if len(block) > 4 else b""


def _content(reader: Reader, meta: Meta, wanted: int) -> bytes:
    """The bytes of an item, of one extent or several; empty if they are elsewhere."""
    box = meta.locations
    if box is None:
        return b""
    version = reader.version(box)
    sizes = reader.number(box.start + 4, 2)
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version else 0
    id_size = 4 if version > 1 else 2
    count, place = reader.number(box.start + 6, id_size), box.start + 6 + id_size
    for _ in range(count):
        reader.step()
        item, place = reader.number(place, id_size), place + id_size
        method = reader.number(place, 2) & 15 if version else 0
        place += 4 if version else 2
        base, place = reader.number(place, base_size), place + base_size
        extents, place = reader.number(place, 2), place + 2
        size = index_size + offset_size + length_size
        if item != wanted:
            place += extents * size
            continue
        content = b""
        for at in range(place, place + extents * size, size or 1):
            reader.step()
            start = base + reader.number(at + index_size, offset_size)
            length = reader.number(at + index_size + offset_size, length_size)
            content += _extent(reader, meta, method, start, length)
            if len(content) >= MAX_EXIF_BYTES:
                break
        return content[:MAX_EXIF_BYTES]
    return b""


def _extent(reader: Reader, meta: Meta, method: int, start: int, length: int) -> bytes:
    length = min(length, MAX_EXIF_BYTES)
    if method == 0:
        return reader.data[start : start + length]
    if method == 1 and meta.data is not None:
        start += meta.data.start
        return reader.data[start : min(start + length, meta.data.end)]
    return b""
