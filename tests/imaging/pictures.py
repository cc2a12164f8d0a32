"""Pictures for the tests: the photographs beside them, and small ones made to order."""

from __future__ import annotations

import io
import struct
import zlib
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
