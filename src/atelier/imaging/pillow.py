"""Pillow, for pictures whose pixels have been counted: by our limits, not by its own."""

from __future__ import annotations

from PIL import Image

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

__all__ = ["PILLOW_ERRORS", "Image"]
