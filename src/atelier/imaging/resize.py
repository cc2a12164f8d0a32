"""Shrinks pixels: exact 2x2 averages down to twice the target, Lanczos for the rest.

A 2x2 average is the cheapest good filter, and Lanczos hides its cost; cv2's LINEAR and CUBIC alias
beyond a shrink of two and are not used. Every picture keeps its exact (fractional) size, because a
2x2 average loses a row of odd sides, which would shift the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from atelier.imaging.pixels import Pixels


def fit(width: int, height: int, box: tuple[int, int]) -> tuple[int, int]:
    """The largest size inside `box` that keeps a picture's aspect.

    Never larger than the picture, never below 1 px.
    """
    scale = min(box[0] / width, box[1] / height, 1.0)
    return max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5))


@dataclass(slots=True)
class Level:
    """Pixels, and the exact size that they stand for.

    That is at most one row and one column more than there are.
    """

    pixels: Pixels
    width: float
    height: float

    @classmethod
    def of(cls, pixels: Pixels) -> Level:
        """The level that is a whole picture."""
        return cls(pixels, pixels.shape[1], pixels.shape[0])

    def halved(self) -> Level:
        """The next level: 2x2 averages."""
        rows, columns = self.pixels.shape[0] // 2, self.pixels.shape[1] // 2
        even = self.pixels[: rows * 2, : columns * 2]
        half = np.atleast_3d(cv2.resize(even, (columns, rows), interpolation=cv2.INTER_AREA))
        return Level(half.astype(np.uint8, copy=False), self.width / 2, self.height / 2)

    def down_to(self, size: tuple[int, int]) -> Level:
        """The last level that is at least twice `size` on both sides, or this one."""
        level = self
        while min(level.pixels.shape[1] / size[0], level.pixels.shape[0] / size[1]) >= 4:
            level = level.halved()
        return level


def shrink(level: Level, size: tuple[int, int]) -> Pixels:
    """Resizes a level by Lanczos to exactly `size` (width, height)."""
    rows, columns, _ = level.pixels.shape
    if (columns, rows) == size:
        return level.pixels
    if (level.width, level.height) == (columns, rows):
        return _lanczos(level.pixels, size)
    return _lanczos_of_part(level, size)


def _lanczos(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """By libvips: twice as fast as Pillow, and it handles alpha correctly."""
    from atelier.imaging.vips import Image

    rows, columns, channels = pixels.shape
    image = Image.new_from_memory(np.ascontiguousarray(pixels), columns, rows, channels, "uchar")
    if channels in (2, 4):
        image = image.copy(interpretation="srgb" if channels == 4 else "b-w").premultiply()
    across, down = columns / size[0], rows / size[1]
    if max(across, down) < 4:
        image = image.reduce(across, down, kernel="lanczos3")
    else:
        image = image.resize(1 / across, vscale=1 / down, kernel="lanczos3")
    if channels in (2, 4):
        image = image.unpremultiply().cast("uchar")
    return np.frombuffer(image.write_to_memory(), np.uint8).reshape(
        image.height, image.width, channels
    )


def _lanczos_of_part(level: Level, size: tuple[int, int]) -> Pixels:
    """By Pillow, which crops at fractions of a pixel; libvips would shift the picture by half."""
    from PIL import Image

    pixels = cv2.copyMakeBorder(level.pixels, 0, 1, 0, 1, cv2.BORDER_REPLICATE)
    box = (0.0, 0.0, level.width, level.height)
    return np.atleast_3d(
        np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS, box))
    )
