"""Pillow, for pictures whose pixels have been counted: by our limits, not by its own."""

from __future__ import annotations

import numpy as np
from PIL import Image

from atelier.imaging.pixels import Pixels

# Ours has been checked on the header by then; Pillow warns of pictures that it allows.
Image.MAX_IMAGE_PIXELS = None
# Everything that Pillow, and what is built upon it, have been seen to raise on damaged files.
PILLOW_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    SyntaxError,
    RuntimeError,
    MemoryError,
    EOFError,
)

# Rows that are copied at once: an image as a whole would be copied twice.
ROWS = 256

__all__ = ["PILLOW_ERRORS", "Image", "pixels_of"]


def pixels_of(image: Image.Image) -> Pixels:
    """The pixels of an image of mode L, LA, RGB or RGBA."""
    image.load()
    pixels = np.empty((image.height, image.width, len(image.getbands())), np.uint8)
    for top in range(0, image.height, ROWS):
        strip = image.crop((0, top, image.width, min(top + ROWS, image.height)))
        pixels[top : top + ROWS] = np.atleast_3d(np.asarray(strip))
    return pixels
