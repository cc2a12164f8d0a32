"""The picture that `classify` sends: upright, rotated, halved, as JPEG, with its magic number."""

from __future__ import annotations

import cv2
import numpy as np

from atelier.imaging.colour import significant
from atelier.imaging.encode import MAX_JPEG_SIDE, encode
from atelier.imaging.errors import BadPicture, TooManyPixels
from atelier.imaging.identify.headers import Header, read_header
from atelier.imaging.identify.metadata import SIDEWAYS
from atelier.imaging.identify.probe import check
from atelier.imaging.magic import magic_number
from atelier.imaging.pixels import BUFFERS, Pixels, on_white, upright
from atelier.imaging.raster import as_decoded, decode
from atelier.imaging.recipe import Limits

QUALITY = 80
# The EXIF orientation that equals first turning orientation N upright, then turning it 90 degrees
# counter-clockwise: one pass over the pixels instead of two.
COUNTER_CLOCKWISE = {1: 8, 2: 5, 3: 6, 4: 7, 5: 4, 6: 1, 7: 2, 8: 3}


def transform(
    picture: bytes, *, rotate: bool = True, resize: bool = True, limits: Limits | None = None
) -> tuple[bytes, tuple[float, ...]]:
    """Makes a picture upright, turns it 90 degrees counter-clockwise and halves its sides.

    Halves are rounded down, to at least 1. Returns the JPEG and the magic number of the pixels in
    it: one value per channel in RGB order, or one for grey. Transparent pictures are laid on
    white. The colour profile is kept, other metadata is not.

    Raises:
        NotAnImage, TooManyPixels, BadPicture: see atelier.imaging.errors.
    """
    limits = limits or Limits()
    header = read_header(picture)
    check(header, limits)
    header, turn = as_decoded(header)
    turn = COUNTER_CLOCKWISE[turn] if rotate else turn
    try:
        raster = decode(picture, header, divisor=2 if resize else 1)
        pixels = on_white(raster.pixels)
        pixels = _halved(pixels, header) if resize else pixels
        pixels = np.ascontiguousarray(upright(pixels, turn, out=_turned(pixels, turn)))
    except cv2.error as error:
        raise BadPicture(str(error)) from error
    if max(pixels.shape) > MAX_JPEG_SIDE:
        raise TooManyPixels(f"A side of {max(pixels.shape)} pixels does not fit into a JPEG.")
    icc = significant(raster.icc, pixels.shape[2])
    return encode(pixels, QUALITY, icc)[1], magic_number(pixels)


def _halved(pixels: Pixels, header: Header) -> Pixels:
    """Half the header's size, rounded down; the decoder rounds up, so an edge may be cut off."""
    rows, columns = max(1, header.height // 2), max(1, header.width // 2)
    if pixels.shape[:2] == (header.height, header.width):
        even = pixels[: max(1, rows * 2), : max(1, columns * 2)]
        return np.atleast_3d(cv2.resize(even, (columns, rows), interpolation=cv2.INTER_AREA))
    return pixels[:rows, :columns]


def _turned(pixels: Pixels, turn: int) -> Pixels:
    """A buffer of the thread for the turned pixels."""
    rows, columns, channels = pixels.shape
    shape = (columns, rows) if turn in SIDEWAYS else (rows, columns)
    return BUFFERS.take("turned", *shape, channels)
