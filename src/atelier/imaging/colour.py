"""ICC profiles: which ones matter, and the conversion of pictures to sRGB.

A profile is judged by what the colour engine makes of it, its curves and primaries: its name is
what its writer liked.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from atelier.imaging.pixels import Pixels

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform

# Steps of 8 bits by which colours may differ from sRGB's: tables and rounding, not a gamma of 2.2,
# which is seven steps off in the dark.
SRGB_TOLERANCE = 3
# Steps by which the luminance of colours may differ on average: greys agree, and Display P3, with
# sRGB's curve, is six steps off.
LUMINANCE_TOLERANCE = 9
LUMINANCE = np.array((0.299, 0.587, 0.114))  # as cv2.cvtColor weighs red, green and blue
GREYS = np.arange(0, 256, 5, dtype=np.uint8)
# Bytes of a profile up to which its judgement is remembered, with it; usual ones have 0.5 to 4 KB.
REMEMBERED_BYTES = 64 << 10
# Pixels that are converted at once, in several copies.
STRIP_PIXELS = 1 << 20


class Nature(NamedTuple):
    """What a profile is for pixels of one kind."""

    usable: bool = False
    srgb: bool = False
    # True if luminance can be computed from such pixels as from those of sRGB.
    luminance: bool = True


def significant(icc: bytes, channels: int) -> bytes:
    """The profile of pixels of so many channels, or empty bytes if they need none.

    That is, if it is sRGB, which a missing profile means too, or cannot be used for them.
    """
    nature = _nature(icc, channels)
    return icc if nature.usable and not nature.srgb else b""


def has_srgb_luminance(icc: bytes, channels: int) -> bool:
    """True if grey can be made from such pixels as if they were of sRGB."""
    return _nature(icc, channels).luminance


def to_srgb(pixels: Pixels, icc: bytes) -> Pixels:
    """Converts pixels from a profile to sRGB, keeping alpha.

    A damaged profile, or one of another colour space, is ignored.
    """
    mode = _mode(pixels.shape[2])
    transform = _transform(icc, mode) if icc else None
    if transform is None:
        return pixels
    result = pixels.copy()
    rows = max(1, STRIP_PIXELS // pixels.shape[1])
    for top in range(0, len(pixels), rows):
        strip = result[top : top + rows, :, : len(mode)]
        strip[...] = _converted(strip, mode, transform)
    return result


def _mode(channels: int) -> str:
    return "L" if channels < 3 else "RGB"


def _transform(icc: bytes, mode: str) -> ImageCmsTransform | None:
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _converted(pixels: Pixels, mode: str, transform: ImageCmsTransform) -> Pixels:
    """Pixels of shape (rows, columns, colours) in sRGB: as grey, if they are grey."""
    from PIL import Image, ImageCms

    flat = pixels[..., 0] if mode == "L" else pixels
    image = Image.fromarray(np.ascontiguousarray(flat))
    converted = np.asarray(ImageCms.applyTransform(image, transform))
    return converted[..., 1:2] if mode == "L" else converted


def _nature(icc: bytes, channels: int) -> Nature:
    if not icc:
        return Nature(srgb=True)
    judge = _remembered if len(icc) <= REMEMBERED_BYTES else _judged
    return judge(icc, _mode(channels))


def _judged(icc: bytes, mode: str) -> Nature:
    """Compares colours of all kinds with what the profile makes of them."""
    transform = _transform(icc, mode)
    if transform is None:
        return Nature()
    samples = _samples(mode)
    converted = _converted(samples, mode, transform)
    off = np.abs(converted.astype(np.int16) - samples)
    luminance = int(off[:, : len(GREYS)].max()) <= SRGB_TOLERANCE
    if mode == "RGB":
        light = np.abs((converted - samples.astype(np.float64)) @ LUMINANCE)
        luminance = luminance and float(light.mean()) <= LUMINANCE_TOLERANCE
    return Nature(usable=True, srgb=int(off.max()) <= SRGB_TOLERANCE, luminance=luminance)


_remembered = lru_cache(maxsize=64)(_judged)


def _samples(mode: str) -> Pixels:
    """One row of greys, and behind them in colour a cube of six by six by six."""
    if mode == "L":
        return GREYS.reshape(1, -1, 1)
    cube = np.stack(np.meshgrid(*[np.arange(0, 256, 51, dtype=np.uint8)] * 3), axis=-1)
    return np.concatenate((np.repeat(GREYS, 3).reshape(-1, 3), cube.reshape(-1, 3)))[np.newaxis]
