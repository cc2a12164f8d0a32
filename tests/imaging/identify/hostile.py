"""Hostile headers of at most 1 MiB: files that ask a reader for as much work as they can."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

from tests.imaging.pictures import chunk, png_header

MIB = 1 << 20
SIZE_TAGS = ((256, 4, 1, 9), (257, 4, 1, 9))
LENGTH_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1)
FRAME = struct.pack(">HBHHB", 17, 8, 9, 9, 3) + bytes(9)


def filled(begin: bytes, unit: bytes, end: bytes = b"") -> bytes:
    """`unit` as often as it fits into 1 MiB between `begin` and `end`."""
    return begin + unit * ((MIB - len(begin) - len(end)) // len(unit)) + end


def directory(entries: tuple[tuple[int, int, int, int], ...], after: int = 0) -> bytes:
    """A directory of a little-endian TIFF."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<H", len(entries)) + body + struct.pack("<I", after)


def tiff_overlapping(count: int = 1_000, pages: int = 10_000) -> bytes:
    """Directories that begin two bytes apart and share their entries; each points at the next."""
    data = bytearray(b"II*\0" + struct.pack("<I", MIB // 4) + bytes(MIB - 8))
    first, size = MIB // 4, 2 + count * 12
    for page in range(pages):
        place = first + page * 70
        if place + size + 70 > len(data):
            break
        struct.pack_into("<H", data, place, count)
        struct.pack_into("<I", data, place + size, place + 70)
    data[first + 2 : first + 26] = b"".join(struct.pack("<HHII", *tag) for tag in SIZE_TAGS)
    return bytes(data)


def tiff_chain() -> bytes:
    """As many small directories as fit, each pointing at the next."""
    made = bytearray(b"II*\0\x08\0\0\0")
    while len(made) < MIB - 60:
        made += directory(SIZE_TAGS, len(made) + 30)
    return bytes(made)


def tiff_loop() -> bytes:
    """Two directories that point at each other."""
    return b"II*\0\x08\0\0\0" + directory(SIZE_TAGS, 38) + directory(SIZE_TAGS, 8)


def tiff_huge_counts() -> bytes:
    """Every tag that a reader asks for claims values up to the end of the file."""
    tags = (256, 257, 258, 262, 277, 282, 283, 296, 322, 323, 271, 306, 33434, 33437, 34675)
    entries = tuple((tag, 3 if tag < 270 else 5, 100_000, 300) for tag in sorted(tags))
    return filled(b"II*\0\x08\0\0\0" + directory(entries), b"\1\0\0\0")


def tiff_many_entries() -> bytes:
    """One directory of 65,535 entries, which is its own EXIF and GPS directory too."""
    tags = (*SIZE_TAGS, (34665, 4, 1, 8), (34853, 4, 1, 8))
    body = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return filled(b"II*\0\x08\0\0\0\xff\xff" + body, struct.pack("<HHII", 1, 5, 1_000, 8))


def big_tiff_far() -> bytes:
    """A BigTIFF whose first directory is beyond any address."""
    return b"II+\0\x08\0\0\0" + b"\xff" * 8 + bytes(100)


def jpeg_of_segments(unit: bytes, *, frame_first: bool = False) -> bytes:
    """A JPEG of one segment again and again, and its frame."""
    frame = b"\xff\xc0" + FRAME
    return filled(b"\xff\xd8" + frame * frame_first, unit, frame * (not frame_first))


def jpeg_with_exif(block: bytes) -> bytes:
    """A JPEG whose EXIF is this block."""
    payload = b"Exif\0\0" + block[:65_000]
    segment = b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload
    return b"\xff\xd8\xff\xc0" + FRAME + segment + b"\xff\xd9"


def png_of_chunks(kind: bytes, payload: bytes) -> bytes:
    """A PNG of one chunk again and again."""
    return filled(png_header(9, 9), chunk(kind, payload))


def png_profile(deflated: bytes) -> bytes:
    """A PNG with this compressed profile."""
    return png_header(9, 9) + chunk(b"iCCP", b"n\0\0" + deflated)


def empty_blocks() -> bytes:
    """Deflate blocks of RFC 1951 with tables of their own and nothing in them.

    No input is dearer: each 90 bits build two tables, and produce no byte.
    """
    # Not last, dynamic; 257 literals, 1 distance, 18 lengths: one bit each for symbols 18 and 1.
    bits = "0" + "01" + "00000" + "00000" + "0111"
    bits += "".join("100" if symbol in (18, 1) else "000" for symbol in LENGTH_ORDER)
    # 138 and 118 times no literal; the end of the block and one distance of one bit; the end.
    bits += "1" + f"{127:07b}"[::-1] + "1" + f"{107:07b}"[::-1] + "0" + "0" + "0"
    eight = "".join(bits for _ in range(8))
    block = bytes(int(eight[at : at + 8][::-1], 2) for at in range(0, len(eight), 8))
    return (b"\x78\x9c" + block * (MIB // len(block)))[: MIB - 100]


def gif(blocks: bytes, end: bytes = b"\x3b") -> bytes:
    """A GIF of a frame and then these blocks, again and again."""
    screen = b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0)
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 9, 9, 0) + b"\x02\x01\0\0"
    return filled(screen + frame, blocks, end)


def webp(unit: bytes, *, sized: bool) -> bytes:
    """A WebP of one chunk again and again, with its size in front or nowhere."""
    extended = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\x08\0\0\x08\0\0"
    return filled(b"RIFF\xf8\xff\x0f\0WEBP" + extended * sized, unit)


def box(kind: bytes, content: bytes) -> bytes:
    """A box of HEIC or AVIF."""
    return struct.pack(">I4s", 8 + len(content), kind) + content


BRAND = box(b"ftyp", b"heic\0\0\0\0mif1")


def boxes(kind: bytes, content: bytes, end: bytes = b"") -> bytes:
    """A `meta` box that is filled up by one box with this content again and again, and `end`."""
    head = BRAND + struct.pack(">I4sI", MIB - len(BRAND), b"meta", 0) + end
    rest = MIB - len(head) - 8
    return (
        head + struct.pack(">I4s", rest + 8, kind) + (content * (rest // len(content) + 1))[:rest]
    )


ITEM = box(b"infe", b"\2\0\0\0\0\1\0\0Exif\0")
MANY = b"\0\0\0\0\xff\xff\xff\xff"
EXIF_OF_ONE = box(b"pitm", b"\0\0\0\0\0\1") + box(b"iinf", bytes(4) + b"\0\1" + ITEM)

HOSTILE: dict[str, Callable[[], bytes]] = {
    "tiff-overlapping": tiff_overlapping,
    "tiff-overlapping-small": lambda: tiff_overlapping(4),
    "tiff-chain": tiff_chain,
    "tiff-loop": tiff_loop,
    "tiff-huge-counts": tiff_huge_counts,
    "tiff-many-entries": tiff_many_entries,
    "big-tiff-far": big_tiff_far,
    "jpeg-restart-markers": lambda: jpeg_of_segments(b"\xff\xd0"),
    "jpeg-stuffed-zeros": lambda: jpeg_of_segments(b"\xff\0"),
    "jpeg-fill-bytes": lambda: jpeg_of_segments(b"\xff", frame_first=True),
    "jpeg-empty-segments": lambda: jpeg_of_segments(b"\xff\xe5\0\2"),
    "jpeg-empty-segments-after": lambda: jpeg_of_segments(b"\xff\xe5\0\2", frame_first=True),
    "jpeg-profile-parts": lambda: jpeg_of_segments(b"\xff\xe2\0\x20ICC_PROFILE\0\1\1" + bytes(16)),
    "jpeg-exif-entries": lambda: jpeg_with_exif(tiff_many_entries()),
    "jpeg-exif-counts": lambda: jpeg_with_exif(tiff_huge_counts()),
    "jpeg-exif-big": lambda: jpeg_with_exif(big_tiff_far()),
    "png-profiles": lambda: png_of_chunks(b"iCCP", b"n\0\0" + zlib.compress(bytes(1 << 20))),
    "png-broken-profiles": lambda: png_of_chunks(b"iCCP", b"n\0\0x"),
    "png-profile-bomb": lambda: png_profile(zlib.compress(bytes(512 * MIB))),
    "png-profile-empty-blocks": lambda: png_profile(empty_blocks()),
    "png-texts": lambda: png_of_chunks(b"zTXt", b"n\0\0" + zlib.compress(bytes(1 << 20))),
    "png-empty-chunks": lambda: png_of_chunks(b"tEXt", b""),
    "png-resolutions": lambda: png_of_chunks(b"pHYs", struct.pack(">IIB", 1, 1, 1)),
    "png-exif": lambda: png_of_chunks(b"eXIf", tiff_many_entries()[:60_000]),
    "gif-empty-extensions": lambda: gif(b"\x21\xfe\0"),
    "gif-small-sub-blocks": lambda: gif(b"\x01\0", b"\0\x3b"),
    "gif-one-chain": lambda: gif(b"\x21\xfe" + b"\x01\x01" * 500_000),
    "gif-frames": lambda: gif(b"\x2c" + struct.pack("<HHHHB", 0, 0, 9, 9, 0) + b"\x02\0"),
    "webp-empty-chunks": lambda: webp(b"JUNK\0\0\0\0", sized=False),
    "webp-frames": lambda: webp(b"ANMF\0\0\0\0", sized=True),
    "webp-profiles": lambda: webp(b"ICCP\x08\0\0\0acspacsp", sized=True),
    "heic-empty-boxes": lambda: filled(BRAND, box(b"free", b"")),
    "heic-boxes-in-meta": lambda: boxes(b"iprp", box(b"ipco", b"")),
    "heic-properties": lambda: boxes(b"iprp", box(b"ipco", box(b"ispe", bytes(12)) * 100)),
    "heic-items": lambda: boxes(b"iinf", ITEM),
    "heic-associations": lambda: boxes(b"iprp", box(b"ipma", MANY + b"\0\1\xff" + b"\1" * 500)),
    "heic-references": lambda: boxes(b"iref", box(b"auxl", b"\0\1\0\xff" + b"\0\1" * 255)),
    "heic-places": lambda: boxes(b"iloc", b"\0\1\0\0\0\0\0\0", EXIF_OF_ONE),
    "avif-samples": lambda: filled(BRAND, box(b"moov", box(b"trak", box(b"mdia", b"") * 9) * 9)),
    "bmp": lambda: filled(b"BM" + bytes(12) + struct.pack("<IiiHH", 40, 9, 9, 1, 24), b"\xff"),
}

# The beginnings and the parts that floods are made of.
BEGINNINGS = (
    b"\xff\xd8\xff\xc0" + FRAME,
    b"\xff\xd8",
    png_header(9, 9),
    b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0),
    b"RIFF\xf8\xff\x0f\0WEBP",
    b"BM" + bytes(12) + struct.pack("<Iii", 40, 9, 9),
    b"II*\0\x08\0\0\0",
    b"MM\0*\0\0\0\x08",
    b"II+\0\x08\0\0\0\x10" + bytes(7),
    BRAND,
    BRAND + b"\0\0\0\0meta" + bytes(4) + EXIF_OF_ONE,
)
PARTS = (
    b"\xff",
    b"\xff\xe1\0\x0aExif\0\0",
    b"\xff\xe2\0\x12ICC_PROFILE\0\1\1",
    b"\xff\xc0" + FRAME,
    chunk(b"iCCP", b"n\0\0" + zlib.compress(bytes(1 << 20))),
    chunk(b"eXIf", b"II*\0\x08\0\0\0\xff\xff"),
    chunk(b"pHYs", bytes(9)),
    b"\x21\xfe\1\1\0",
    b"\x2c" + struct.pack("<HHHHB", 0, 0, 9, 9, 0) + b"\2\0",
    b"ANMF\0\0\0\0",
    b"VP8X" + struct.pack("<I", 10) + bytes(10),
    b"ICCP\4\0\0\0abcd",
    b"\1\0\0\1\4\0",
    box(b"ispe", bytes(12)),
    b"\0\0\0\0iprp\0\0\0\0ipco",
    b"\0\0\1\0ipma" + MANY,
    b"\0\0\1\0iloc\1\0\0\0\x44\x44\xff\xff",
    b"\0\0\1\0iref\0\0\0\0",
    ITEM,
)
