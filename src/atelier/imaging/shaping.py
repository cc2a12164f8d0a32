"""Tells if lines can be laid out: letters joined, reordered, and run from right to left."""

from __future__ import annotations

from PIL import features


def shapes() -> bool:
    """True if Pillow has found libfribidi, for which it looks once, on its first import."""
    return bool(features.check_feature("raqm"))
