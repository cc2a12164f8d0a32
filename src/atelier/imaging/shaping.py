"""Whether lines can be laid out: letters joined, reordered, and run from right to left."""

from __future__ import annotations

from PIL import features


def shapes() -> bool:
    """Whether Pillow has found libfribidi, which it looks for once, when it is first imported."""
    return bool(features.check_feature("raqm"))
