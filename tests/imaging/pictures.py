"""Pictures for the tests: the photographs beside them, and small ones made to order."""

from __future__ import annotations

import io
import struct
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PHOTOS = Path(__file__).parents[1] / "photos"
WATERFALL = (PHOTOS / "waterfall_640x480.jpg").read_bytes()


def photo(name: str) -> bytes:
    """The bytes of a photograph of tests/photos, named without its suffix."""
    return (PHOTOS / f"{name}.jpg").read_bytes()


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """An image as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def waterfall(mode: str = "RGB", size: tuple[int, int] = (320, 240)) -> Image.Image:
    """The waterfall in a mode of Pillow and a size.

    Where the mode has alpha, it fades from top to bottom.
    """
    with Image.open(io.BytesIO(WATERFALL)) as image:
        made = image.resize(size).convert(mode)
    if mode.endswith("A"):
        made.putalpha(Image.linear_gradient("L").resize(size))
    return made


def deep(size: tuple[int, int] = (320, 240)) -> Image.Image:
    """The waterfall as 16-bit grey: twice 8 bits of it, so that the upper 8 are the picture."""
    grey = np.asarray(waterfall("L", size)).astype(np.uint16)
    return Image.fromarray(grey * 257)


def opened(data: bytes) -> Image.Image:
    """A decoded picture."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def pixels(data: bytes, mode: str = "RGB") -> np.ndarray[Any, np.dtype[np.int16]]:
    """A decoded picture as signed numbers, fit for differences."""
    return np.asarray(opened(data).convert(mode)).astype(np.int16)


def chunk(kind: bytes, payload: bytes) -> bytes:
    """A chunk of a PNG."""
    return (
        struct.pack(">I", len(payload))
        + kind
        + payload
        + struct.pack(">I", zlib.crc32(kind + payload))
    )


def png_header(width: int, height: int, bits: int = 8, colour: int = 2) -> bytes:
    """The beginning of a PNG: enough to tell its size, with no pixel behind it."""
    return b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    )


def exif(
    tags: dict[int, Any], shot: dict[int, Any] | None = None, gps: dict[int, Any] | None = None
) -> Image.Exif:
    """An EXIF block: tags of the picture, of the shot and of its place."""
    block = Image.Exif()
    block.update(tags)
    block.get_ifd(0x8769).update(shot or {})
    block.get_ifd(0x8825).update(gps or {})
    return block


def segment(marker: int, payload: bytes) -> bytes:
    """A segment of a JPEG."""
    return b"\xff" + bytes((marker,)) + struct.pack(">H", len(payload) + 2) + payload


def without_end(jpeg: bytes, behind: bytes = b"") -> bytes:
    """A JPEG with other bytes, or none, where its end marker was."""
    return jpeg.removesuffix(b"\xff\xd9") + behind


def after_start(jpeg: bytes, segments: bytes) -> bytes:
    """A JPEG with more segments in front."""
    return jpeg[:2] + segments + jpeg[2:]


SAMPLED_COLOUR = (127, 89, 102)


def sampled(across: int, down: int) -> bytes:
    """A JPEG of `SAMPLED_COLOUR`, whose luma has so many samples for one of its chroma.

    By hand (ITU-T T.81): four MCUs, whose blocks have a difference of DC and no AC coefficient.
    """
    frame = struct.pack(">BHHB", 8, 16 * down, 16 * across, 3)
    frame += bytes((1, across * 16 + down, 0, 2, 17, 0, 3, 17, 0))
    # For DC the codes 00 and 01, of a difference of no bit and of five; for AC 0, the last.
    dc, ac = bytes((0, 0, 2, *bytes(14), 0, 5)), bytes((16, 1, *bytes(15), 0))
    same, darker, redder = "000", "01001010", "01100100"
    count = across * down
    bits = darker + same * count + redder + same * (count + 2) * 3
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8)
    return (
        b"\xff\xd8"
        + segment(0xDB, b"\0" + b"\x08" * 64)
        + segment(0xC0, frame)
        + segment(0xC4, dc + ac)
        + segment(0xDA, bytes((3, 1, 0, 2, 0, 3, 0, 0, 63, 0)))
        + scan
        + b"\xff\xd9"
    )


TIFF_TYPES = {"u": 1, "i": 2, "f": 3}  # NumPy's kinds of numbers as TIFF's SampleFormat


def tiff_page(
    samples: np.ndarray[Any, Any], photometric: int, **more: int
) -> tuple[dict[int, tuple[int, ...]], bytes]:
    """The tags of one directory of a TIFF, uncompressed in one strip, and its pixels.

    `more` are other tags, such as t254=1.
    """
    cube = np.atleast_3d(samples)
    rows, columns, count = cube.shape
    tags = {
        256: (columns,),
        257: (rows,),
        258: (cube.itemsize * 8,) * count,
        259: (1,),
        262: (photometric,),
        277: (count,),
        278: (rows,),
        279: (cube.nbytes,),
        284: (1,),
        339: (TIFF_TYPES[cube.dtype.kind],) * count,
    }
    tags.update({int(name[1:]): (value,) for name, value in more.items()})
    return tags, cube.astype(cube.dtype.newbyteorder("<")).tobytes()


def tiff(*pages: tuple[dict[int, tuple[int, ...]], bytes], parts_of_first: int = 0) -> bytes:
    """A TIFF of directories; the last `parts_of_first` are parts of the first, not pages."""
    data, places, links = bytearray(b"II*\0" + bytes(4)), [], []
    for tags, strip in pages:
        full = {**tags, 273: (len(data),)}
        data += strip + bytes(len(strip) % 2)
        if not places and parts_of_first:
            full[330] = (0,) * max(2, parts_of_first)
        entries = b""
        for tag, values in sorted(full.items()):
            packed = struct.pack(f"<{len(values)}I", *values)
            if len(packed) > 4:
                links += [len(data)] if tag == 330 else []
                packed, data = struct.pack("<I", len(data)), data + packed
            entries += struct.pack("<HHI", tag, 4, len(values)) + packed
        places.append(len(data))
        data += struct.pack("<H", len(full)) + entries + bytes(4)
    main, parts = places[: len(places) - parts_of_first], places[len(places) - parts_of_first :]
    struct.pack_into("<I", data, 4, main[0])
    for place, after in pairwise(main):
        (count,) = struct.unpack_from("<H", data, place)
        struct.pack_into("<I", data, place + 2 + 12 * count, after)
    for place in links:
        struct.pack_into(f"<{parts_of_first}I", data, place, *parts)
    return bytes(data)


def bmp(bits: int, masks: tuple[int, ...], value: int, header: int = 40) -> bytes:
    """A bitmap of 5 by 3 equal pixels, with colour masks in or after its header."""
    fields = struct.pack("<IiiHHIIiiII", header, 5, 3, 1, bits, 3, 0, 0, 0, 0, 0)
    fields += struct.pack(f"<{len(masks)}I", *masks)
    fields = fields.ljust(header, b"\0")
    row = (value.to_bytes(bits // 8, "little") * 5).ljust((5 * bits + 31) // 32 * 4, b"\0")
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + len(fields)) + fields + row * 3
