"""Pixels in memory: their type, reusable buffers, and turning pixels upright."""

from __future__ import annotations

import threading
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from atelier.sandbox.memory import KEPT_BYTES, keep_freed_pages

cv2.setNumThreads(1)
keep_freed_pages()

Pixels: TypeAlias = NDArray[np.uint8]


class Buffers(threading.local):
    """Memory that a thread reuses, one buffer per purpose.

    A view of a buffer is valid until the thread's next picture.
    """

    def __init__(self) -> None:
        self.kept: dict[str, Pixels] = {}

    def take(self, purpose: str, *shape: int) -> Pixels:
        """Returns uninitialised memory of this shape."""
        size = int(np.prod(shape))
        buffer = self.kept.get(purpose)
        if buffer is None or buffer.size < size:
            buffer = np.empty(size, np.uint8)
            if size <= KEPT_BYTES:
                self.kept[purpose] = buffer
        return buffer[:size].reshape(shape)


BUFFERS = Buffers()


BLENDED_ROWS = 256
# EXIF orientation to the cv2 operation that turns the stored pixels upright.
ROTATIONS = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}
FLIPS = {2: 1, 4: 0}


def upright(pixels: Pixels, orientation: int, out: Pixels | None = None) -> Pixels:
    """Applies an EXIF orientation (1..8) to pixels of shape (height, width, channels)."""
    if orientation == 1:
        return pixels
    flat = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    target = out[..., 0] if out is not None and out.shape[2] == 1 else out
    if orientation in ROTATIONS:
        turned = cv2.rotate(flat, ROTATIONS[orientation], dst=target)
    elif orientation in FLIPS:
        turned = cv2.flip(flat, FLIPS[orientation], dst=target)
    else:
        turned = cv2.transpose(flat, dst=target)
        if orientation == 7:
            turned = cv2.rotate(turned, cv2.ROTATE_180, dst=target)
    return np.atleast_3d(turned)


def opaque(pixels: Pixels) -> Pixels:
    """Drops an alpha channel that is opaque everywhere."""
    if pixels.shape[2] in (2, 4) and int(pixels[..., -1].min()) == 255:
        return np.ascontiguousarray(pixels[..., :-1])
    return pixels


def on_white(pixels: Pixels) -> Pixels:
    """Blends transparent pixels with white."""
    if pixels.shape[2] not in (2, 4):
        return pixels
    blended = np.empty((*pixels.shape[:2], pixels.shape[2] - 1), np.uint8)
    # By strips, for the sums take four times the memory of what they are made of.
    for top in range(0, len(pixels), BLENDED_ROWS):
        strip = pixels[top : top + BLENDED_ROWS].astype(np.uint32)
        colours, opacity = strip[..., :-1], strip[..., -1:]
        blended[top : top + BLENDED_ROWS] = (
            colours * opacity + 255 * (255 - opacity) + 127
        ) // 255
    return blended
