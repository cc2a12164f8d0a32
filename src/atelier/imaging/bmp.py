"""Bitmaps whose pixels are colours: 16, 24 or 32 bits each, divided by any masks.

Pillow knows some masks only, and needs several copies of a picture. Palettes are left to it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atelier.imaging.errors import BadPicture
from atelier.imaging.pixels import Pixels

PLAIN, BITFIELDS, ALPHA_BITFIELDS = 0, 3, 6  # ways of compression
INFO_HEADER, HEADER_WITH_ALPHA, OS2_HEADER, OS2_LONG_HEADER = 40, 56, 12, 64  # bytes
MASKS_AT = 14 + INFO_HEADER
# Of pixels without masks: red, green, blue, opacity.
USUAL = {16: (0x7C00, 0x3E0, 0x1F, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}
# Rows that are taken apart at once.
ROWS = 256


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a bitmap's pixels are, and the masks of red, green, blue and opacity in them."""

    width: int
    height: int
    bits: int
    start: int
    upwards: bool
    masks: tuple[int, ...]


def layout(picture: bytes) -> Layout | None:
    """How a bitmap's pixels lie, or None if they are places in a palette, or packed.

    Raises:
        BadPicture: its masks are of no colours.
    """
    start, size = (struct.unpack_from("<I", picture, place)[0] for place in (10, 14))
    way = PLAIN
    if size == OS2_HEADER:
        width, height, bits = struct.unpack_from("<HH2xH", picture, 18)
    elif size < INFO_HEADER:
        width, height, bits = struct.unpack_from("<ii2xH", picture, 18)
    else:
        width, height, bits, way = struct.unpack_from("<ii2xHI", picture, 18)
    if bits == 24 and way == PLAIN:
        masks: tuple[int, ...] = ()
    elif bits in USUAL and way == PLAIN:
        masks = USUAL[bits]
    elif bits in USUAL and way in (BITFIELDS, ALPHA_BITFIELDS) and size != OS2_LONG_HEADER:
        with_alpha = size >= HEADER_WITH_ALPHA or way == ALPHA_BITFIELDS
        masks = struct.unpack("<4I", picture[MASKS_AT : MASKS_AT + 16].ljust(16, b"\0"))
        masks = masks if with_alpha else (*masks[:3], 0)
        if not any(masks[:3]) or not all(_contiguous(mask, bits) for mask in masks):
            raise BadPicture("The masks of this bitmap are of no colours.")
    else:
        return None
    return Layout(width, abs(height), bits, start, height > 0, masks)


def _contiguous(mask: int, bits: int) -> bool:
    shifted = mask >> _shift(mask)
    return mask < 1 << bits and not shifted & (shifted + 1)


def _shift(mask: int) -> int:
    return (mask & -mask).bit_length() - 1 if mask else 0


def decode(picture: bytes, lying: Layout) -> Pixels:
    """The pixels, of three channels, or of four where opacity has a mask.

    Opacity that is nought everywhere is none: programs leave its byte empty.

    Raises:
        BadPicture: the file ends before its last row.
    """
    stride = (lying.width * lying.bits + 31) // 32 * 4
    if lying.start + stride * lying.height > len(picture):
        raise BadPicture("The picture ends before its last row.")
    rows = np.frombuffer(picture, np.uint8, stride * lying.height, lying.start)
    rows = rows.reshape(lying.height, stride)[:: -1 if lying.upwards else 1]
    if not lying.masks:
        flat = rows[:, : lying.width * 3].reshape(lying.height, lying.width, 3)
        return np.ascontiguousarray(flat[..., ::-1])
    masks = lying.masks if lying.masks[3] else lying.masks[:3]
    pixels = np.empty((lying.height, lying.width, len(masks)), np.uint8)
    for top in range(0, lying.height, ROWS):
        strip = np.ascontiguousarray(rows[top : top + ROWS, : lying.width * lying.bits // 8])
        values = strip.view(f"<u{lying.bits // 8}")
        for channel, mask in enumerate(masks):
            pixels[top : top + ROWS, :, channel] = _eight_bits(values, mask)
    empty = len(masks) == 4 and not pixels[..., 3].any()
    return np.ascontiguousarray(pixels[..., :3]) if empty else pixels


def _eight_bits(values: NDArray[np.unsignedinteger], mask: int) -> Pixels:
    """The bits under a mask, in proportion."""
    shift = _shift(mask)
    most = mask >> shift
    if not most:
        return np.zeros(values.shape, np.uint8)
    part = (values & mask) >> shift
    if most <= 0xFF:
        table: Pixels = ((np.arange(most + 1) * 255 + most // 2) // most).astype(np.uint8)
        return np.take(table, part)
    return (part.astype(np.uint64) * 255 // most).astype(np.uint8)
