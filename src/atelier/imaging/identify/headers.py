"""Reads an image's format, size and kind from its header bytes.

Decodes no pixel and imports no library. The formats are an allow-list: bytes that start like none
of them are no image, whatever the file is called.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from atelier.imaging.errors import BadPicture, NotAnImage
from atelier.imaging.identify.boxes import is_boxed, read_primary
from atelier.imaging.identify.budget import Budget
from atelier.imaging.identify.tiff import Entry, NotTiff, Tiff
from atelier.imaging.signatures import SIGNATURES

# An ICC profile of a real device is at most about 3 MB; more is a deflate bomb.
MAX_PROFILE_BYTES = 4 << 20
# What a decoder, which needs the whole profile and is confined, may spend on a header.
WHOLE_PROFILE = Budget(inflated=MAX_PROFILE_BYTES, deflated=2 * MAX_PROFILE_BYTES)


@dataclass(slots=True)
class Header:
    """What a header says about its picture; sides in stored (not displayed) pixels."""

    format: str
    width: int = 0
    height: int = 0
    mode: str = ""
    bits: int = 8
    frames: int = 1
    dpi: tuple[float, float] | None = None
    exif: bytes = b""
    icc: bytes = b""
    channels: int = 3
    # The EXIF orientation, where another place than the EXIF block says it.
    orientation: int | None = None
    tags: dict[str, int] = field(default_factory=dict)


def read_header(data: bytes, budget: Budget | None = None) -> Header:
    """Reads the header of a picture within `budget`; without one, its whole profile.

    Raises:
        NotAnImage: the first bytes are not those of a supported format.
        BadPicture: they are, and the header that follows is damaged.
    """
    parse = next((parse for magic, parse in PARSERS if data.startswith(magic)), None)
    if parse is None and is_boxed(data):
        parse = _boxed
    if parse is None:
        raise NotAnImage(
            "The first bytes are not those of a JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC or AVIF."
        )
    try:
        header = parse(data, budget or replace(WHOLE_PROFILE))
    except NotTiff as error:
        raise NotAnImage(str(error)) from error
    except (struct.error, IndexError, ValueError, OverflowError, zlib.error) as error:
        raise BadPicture("The header is truncated or damaged.") from error
    if header.width < 1 or header.height < 1:
        raise BadPicture("The header gives no size.")
    return header


STANDALONE_MARKERS = frozenset((0x01, *range(0xD0, 0xD9)))
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
EXIF_PREFIX, ICC_PREFIX = b"Exif\0\0", b"ICC_PROFILE\0"


_AFTER_FILL = re.compile(rb"[^\xff]")


def _jpeg_segments(data: bytes, budget: Budget) -> Iterator[tuple[int, bytes]]:
    """Yields (marker, payload) up to the first scan."""
    place = 2
    while budget.spend():
        place = data.find(b"\xff", place)
        # Any number of bytes 0xFF may fill the space before a marker (ITU-T T.81, B.1.1.2).
        found = _AFTER_FILL.search(data, place) if place >= 0 else None
        if found is None:
            return
        marker, place = data[found.start()], found.end()
        if marker == 0 or marker in STANDALONE_MARKERS:
            continue
        if marker in (START_OF_SCAN, END_OF_IMAGE):
            return
        (length,) = struct.unpack_from(">H", data, place)
        if length < 2:
            raise ValueError("segment length")
        yield marker, data[place + 2 : place + length]
        place += length


def _jpeg(data: bytes, budget: Budget) -> Header:
    header = Header("JPEG")
    profile: dict[int, bytes] = {}
    for marker, payload in _jpeg_segments(data, budget):
        if marker in START_OF_FRAME and not header.mode:
            header.bits, header.height, header.width, header.channels = struct.unpack_from(
                ">BHHB", payload
            )
            header.mode = {1: "L", 3: "RGB", 4: "CMYK"}.get(header.channels, "")
            header.tags["process"] = marker
            if not header.mode:
                raise BadPicture(f"A JPEG of {header.channels} components.")
        elif marker == 0xE0 and payload.startswith(b"JFIF\0"):
            header.dpi = _jfif_density(payload)
        elif marker == 0xE1 and payload.startswith(EXIF_PREFIX) and not header.exif:
            header.exif = payload[len(EXIF_PREFIX) :]
        elif marker == 0xE2 and payload.startswith(ICC_PREFIX) and len(payload) > 14:
            profile.setdefault(payload[12], payload[13:])
    header.icc = _joined(profile)[:MAX_PROFILE_BYTES]
    return header


def _joined(parts: dict[int, bytes]) -> bytes:
    """The profile of these segments, numbered from 1, each with their number in front.

    Empty if they are not that many, or numbered otherwise: what is missing cannot be known.
    """
    counts = {part[0] for part in parts.values()}
    if counts != {len(parts)} or set(parts) != set(range(1, len(parts) + 1)):
        return b""
    return b"".join(parts[number][1:] for number in sorted(parts))


def _jfif_density(payload: bytes) -> tuple[float, float] | None:
    unit, x, y = struct.unpack_from(">BHH", payload, 7)
    per_inch = {1: 1.0, 2: 2.54}.get(unit)
    return (x * per_inch, y * per_inch) if per_inch and x and y else None


PNG_MODES = {0: ("L", 1), 2: ("RGB", 3), 3: ("P", 1), 4: ("LA", 2), 6: ("RGBA", 4)}


def _png(data: bytes, budget: Budget) -> Header:
    if data[12:16] != b"IHDR":
        raise ValueError("no IHDR")
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    mode, channels = PNG_MODES.get(colour, ("", 0))
    if not mode:
        raise BadPicture(f"A PNG of colour type {colour}.")
    header = Header(
        "PNG", width, height, "1" if mode == "L" and bits == 1 else mode, bits, channels=channels
    )
    place = 33
    once = {b"acTL", b"pHYs", b"eXIf", b"iCCP", b"tRNS"}
    while place + 8 <= len(data) and budget.spend():
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind in once:
            once.remove(kind)
            _png_chunk(header, kind, data[place + 8 : place + 8 + length], budget)
        place += length + 12
    return header


def _png_chunk(header: Header, kind: bytes, payload: bytes, budget: Budget) -> None:
    if kind == b"acTL":
        header.frames = max(1, struct.unpack_from(">I", payload)[0])
    elif kind == b"pHYs":
        x, y, unit = struct.unpack_from(">IIB", payload)
        header.dpi = (x * 0.0254, y * 0.0254) if unit == 1 and x and y else None
    elif kind == b"eXIf":
        header.exif = payload.removeprefix(EXIF_PREFIX)
    elif kind == b"tRNS":
        header.tags["transparency"] = 1
    else:
        name_end = payload.index(b"\0", 0, 80)
        header.icc = _inflate(payload[name_end + 2 :], budget)


def _inflate(data: bytes, budget: Budget) -> bytes:
    """The beginning of a compressed profile, as much as `budget` has for it."""
    given = data[: budget.deflated]
    made = zlib.decompressobj().decompress(given, budget.inflated) if budget.inflated else b""
    budget.deflated -= len(given)
    budget.inflated -= len(made)
    return made


def _webp(data: bytes, budget: Budget) -> Header:
    if data[8:12] != b"WEBP":
        raise NotAnImage("A RIFF file that is not WebP.")
    header = Header("WEBP", mode="RGB", frames=0)
    place = 12
    while place + 8 <= len(data) and budget.spend():
        kind, length = struct.unpack_from("<4sI", data, place)
        _webp_chunk(header, kind, data[place + 8 : place + 8 + length])
        place += 8 + length + (length & 1)
    header.frames = max(1, header.frames)
    header.channels = len(header.mode)
    return header


def _webp_chunk(header: Header, kind: bytes, payload: bytes) -> None:
    if kind == b"VP8X" and not header.width:
        header.width = 1 + int.from_bytes(payload[4:7], "little")
        header.height = 1 + int.from_bytes(payload[7:10], "little")
        header.mode = "RGBA" if payload[0] & 0x10 else "RGB"
    elif kind == b"VP8 " and not header.width:
        if payload[3:6] != b"\x9d\x01\x2a":
            raise ValueError("no key frame")
        width, height = struct.unpack_from("<HH", payload, 6)
        header.width, header.height = width & 0x3FFF, height & 0x3FFF
    elif kind == b"VP8L" and not header.width:
        signature, bits = struct.unpack_from("<BI", payload)
        if signature != 0x2F:
            raise ValueError("no lossless stream")
        header.width, header.height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        header.mode = "RGBA" if bits >> 28 & 1 else "RGB"
    elif kind == b"ANMF":
        header.frames += 1
    elif kind == b"EXIF":
        header.exif = header.exif or payload.removeprefix(EXIF_PREFIX)
    elif kind == b"ICCP":
        header.icc = header.icc or payload[:MAX_PROFILE_BYTES]


# Passing over a sub-block, at most 255 bytes, costs a fraction of a step.
SUB_BLOCKS_A_STEP = 16
FULL_RUN = b"\xff" * 16  # the lengths of 16 full sub-blocks, which are passed over at once
FULL_RUN_BYTES = 16 * 256
ENDLESS = "A GIF of too many blocks."
GIF_TRAILER, GIF_EXTENSION, GIF_IMAGE = 0x3B, 0x21, 0x2C


def _gif(data: bytes, budget: Budget) -> Header:
    # A frame that exceeds the screen enlarges it, as in browsers and in the decoder.
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    header = Header("GIF", width, height, "P", 8, frames=0, channels=1)
    place = 13 + _gif_table(flags)
    while place < len(data) and data[place] != GIF_TRAILER:
        _spend(budget, 1)
        if data[place] == GIF_IMAGE:
            if place + 10 > len(data):
                break
            header.frames += 1
            left, top, wide, high, flags = struct.unpack_from("<HHHHB", data, place + 1)
            header.width, header.height = (
                max(header.width, left + wide),
                max(header.height, top + high),
            )
            place += 11 + _gif_table(flags)
        elif data[place] == GIF_EXTENSION:
            place += 2
        else:
            break
        place = _gif_skip(data, place, budget)
    if not header.frames:
        raise BadPicture("A GIF without a frame.")
    return header


def _gif_table(flags: int) -> int:
    """Bytes of the colour table that `flags` announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _gif_skip(data: bytes, place: int, budget: Budget) -> int:
    """Returns the offset after the chain of sub-blocks at `place`."""
    for passed in range(budget.steps * SUB_BLOCKS_A_STEP):
        if place >= len(data) or not data[place]:
            _spend(budget, passed // SUB_BLOCKS_A_STEP)
            return place + 1
        full = data[place] == 255 and data[place : place + FULL_RUN_BYTES : 256] == FULL_RUN
        place += FULL_RUN_BYTES if full else 1 + data[place]
    raise BadPicture(ENDLESS)


def _spend(budget: Budget, steps: int) -> None:
    """Any frame may enlarge the picture, so that all of them must be seen to know its size."""
    if not budget.spend(steps):
        raise BadPicture(ENDLESS)


BMP_OS2_HEADER, BMP_INFO_HEADERS = 12, (16, 40, 52, 56, 64, 108, 124)
BMP_MODES = {
    1: ("1", 1),
    2: ("P", 1),
    4: ("P", 1),
    8: ("P", 1),
    16: ("RGB", 3),
    24: ("RGB", 3),
    32: ("RGB", 3),
}


def _bmp(data: bytes, _: Budget) -> Header:
    (size,) = struct.unpack_from("<I", data, 14)
    if size == BMP_OS2_HEADER:
        width, height, bits = struct.unpack_from("<HH2xH", data, 18)
    elif size in BMP_INFO_HEADERS:
        width, height, bits = struct.unpack_from("<ii2xH", data, 18)
    else:
        raise NotAnImage("Two letters of a BMP, and no BMP behind them.")
    if bits not in BMP_MODES:
        raise BadPicture(f"A BMP of {bits} bits a pixel.")
    mode, channels = BMP_MODES[bits]
    header = Header("BMP", width, abs(height), mode, min(bits, 8), channels=channels)
    if size >= 40:
        x, y = struct.unpack_from("<ii", data, 38)
        header.dpi = (x * 0.0254, y * 0.0254) if x > 0 and y > 0 else None
    return header


TIFF_WIDTH, TIFF_HEIGHT, TIFF_BITS, TIFF_PHOTOMETRIC, TIFF_SAMPLES = 256, 257, 258, 262, 277
TIFF_X_RESOLUTION, TIFF_Y_RESOLUTION, TIFF_UNIT = 282, 283, 296
TIFF_TILE_WIDTH, TIFF_TILE_HEIGHT, TIFF_PROFILE, TIFF_EXTRA = 322, 323, 34675, 338
TIFF_NEW_SUBFILE, TIFF_SUBFILE, TIFF_ORIENTATION, TIFF_SUB_DIRECTORIES = 254, 255, 274, 330
TIFF_WHITE_IS_ZERO = 0
TIFF_MODES = {0: "L", 1: "L", 2: "RGB", 3: "P", 4: "1", 5: "CMYK", 6: "YCbCr", 8: "LAB"}
# Photometric interpretations that are shown as something else, or not at all: colours of other
# kinds, and what a camera's sensor saw, before a picture was made of it.
TIFF_UNSHOWN = {
    9: "ICC CIELAB",
    10: "ITU CIELAB",
    32803: "the filtered samples of a camera (a raw photograph)",
    34892: "the linear samples of a camera (a raw photograph)",
}
TIFF_MOST_BITS = 32
# Bits of NewSubfileType: a smaller copy of another picture, and a mask for one.
TIFF_REDUCED, TIFF_MASK = 1, 4
# Colours, alpha and a spare; more samples multiply the memory that the pixel limit bounds.
MAX_SAMPLES = 5


def _tiff_picture(tiff: Tiff) -> tuple[dict[str, int], dict[int, Entry]]:
    """Where the picture is, as page and part of it, and its tags.

    Usually the first page; where that is a preview, the first page, or the first of its parts,
    that is none. Without any, the preview is all that there is.
    """
    first = tiff.directory(tiff.first)
    if not _is_preview(tiff, first):
        return {}, first
    for page, offset in enumerate(tiff.pages()):
        tags = tiff.directory(offset)
        if not _is_preview(tiff, tags):
            return {"page": page}, tags
    for part, place in enumerate(tiff.numbers(first.get(TIFF_SUB_DIRECTORIES))):
        tags = tiff.directory(int(place)) if isinstance(place, int) else {}
        if TIFF_WIDTH in tags and not _is_preview(tiff, tags):
            return {"part": part}, tags
    return {}, first


def _is_preview(tiff: Tiff, tags: dict[int, Entry]) -> bool:
    kind = tiff.number(tags.get(TIFF_NEW_SUBFILE))
    return bool(kind & (TIFF_REDUCED | TIFF_MASK)) or tiff.number(tags.get(TIFF_SUBFILE)) == 2


def _tiff(data: bytes, budget: Budget) -> Header:
    tiff = Tiff.open(data, budget)
    place, tags = _tiff_picture(tiff)
    photometric = tiff.number(tags.get(TIFF_PHOTOMETRIC))
    if photometric in TIFF_UNSHOWN:
        raise BadPicture(f"A TIFF of {TIFF_UNSHOWN[photometric]}, which cannot be shown.")
    mode = TIFF_MODES.get(photometric, "")
    samples = tiff.number(tags.get(TIFF_SAMPLES), 1)
    bits = tiff.number(tags.get(TIFF_BITS), 1)
    if samples > MAX_SAMPLES:
        raise BadPicture(f"A TIFF of {samples} samples a pixel.")
    if bits > TIFF_MOST_BITS:
        raise BadPicture(f"A TIFF of {bits} bits a sample; no more than 32 can be shown.")
    header = Header(
        "TIFF", tiff.number(tags.get(TIFF_WIDTH)), tiff.number(tags.get(TIFF_HEIGHT)), mode, bits
    )
    header.channels = samples
    header.mode = (
        "1" if bits == 1 and mode == "L" else mode + "A" * bool(TIFF_EXTRA in tags and mode)
    )
    header.frames = tiff.count_directories()
    header.exif, header.tags = data, {**place, "photometric": photometric}
    header.orientation = tiff.number(tags.get(TIFF_ORIENTATION), 1)
    header.icc = tiff.raw(tags.get(TIFF_PROFILE), MAX_PROFILE_BYTES)
    header.tags["tile"] = tiff.number(tags.get(TIFF_TILE_WIDTH)) * tiff.number(
        tags.get(TIFF_TILE_HEIGHT)
    )
    x, y = (tiff.numbers(tags.get(tag)) for tag in (TIFF_X_RESOLUTION, TIFF_Y_RESOLUTION))
    per_inch = {2: 1.0, 3: 2.54}.get(tiff.number(tags.get(TIFF_UNIT), 2))
    header.dpi = (x[0] * per_inch, y[0] * per_inch) if x and y and per_inch else None
    return header


def _boxed(data: bytes, budget: Budget) -> Header:
    found = read_primary(data, budget)
    left, top, width, height = found.shown
    mode = ("L" if found.channels == 1 else "RGB") + "A" * found.alpha
    coded_width, coded_height = found.coded
    return Header(
        found.codec,
        width,
        height,
        mode,
        found.bits,
        found.frames,
        exif=found.exif,
        icc=found.icc[:MAX_PROFILE_BYTES],
        channels=len(mode),
        orientation=found.orientation,
        # As a tile does, the coded picture takes memory though only a part of it is shown.
        tags={"left": left, "top": top, "tile": coded_width * coded_height},
    )


_BY_FORMAT = {"JPEG": _jpeg, "PNG": _png, "GIF": _gif, "TIFF": _tiff}
PARSERS: tuple[tuple[bytes, Callable[[bytes, Budget], Header]], ...] = (
    *((magic, _BY_FORMAT[name]) for magic, name in SIGNATURES),
    (b"RIFF", _webp),
    (b"BM", _bmp),
)
