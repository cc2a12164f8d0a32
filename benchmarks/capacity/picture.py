"""The default picture: as hard to decode and as large as a photograph of its size."""

from __future__ import annotations

import cv2
import numpy as np
import simplejpeg

WIDTH, HEIGHT = 640, 480
QUALITY = 85
OCTAVES = ((6, 90.0), (24, 45.0), (96, 22.0), (240, 16.0))
"""Cells across the picture and noise strength in each: coarse shapes to grain, as in photos."""


def photograph() -> bytes:
    """A JPEG of 640x480, the same each time."""
    random = np.random.default_rng(7)
    pixels = np.full((HEIGHT, WIDTH, 3), 128.0, np.float32)
    for cells, strength in OCTAVES:
        noise = random.normal(0, strength, (cells * HEIGHT // WIDTH + 1, cells, 3)).astype(
            np.float32
        )
        pixels += cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    made: bytes = simplejpeg.encode_jpeg(
        np.clip(pixels, 0, 255).astype(np.uint8), QUALITY, "RGB", "420"
    )
    return made
