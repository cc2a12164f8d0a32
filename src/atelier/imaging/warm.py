"""Loads everything that imaging may need later, for a process about to give up its files."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

from atelier.imaging.colour import to_srgb
from atelier.imaging.identify.metadata import profile_name
from atelier.imaging.recipe import Recipe
from atelier.imaging.renditions import render
from atelier.imaging.transform import transform


def warm_up(caption_font: str | None = None, caption_index: int = 0) -> None:
    """Renders the smallest pictures that use every library, plugin, codec and font.

    Raises:
        Invalid: the font cannot be loaded.
    """
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile_name(profile)
    caption = "\u05d0\u0301 a"  # a letter and a mark for the layout engine, and one without it
    recipe = Recipe(
        ("1x1",),
        caption=caption,
        caption_font=caption_font,
        caption_index=caption_index,
    )
    for mode, kind in (
        ("RGB", "JPEG"),
        ("CMYK", "JPEG"),
        ("RGBA", "PNG"),
        ("RGB", "BMP"),
        ("RGB", "TIFF"),
    ):
        buffer = io.BytesIO()
        Image.new(mode, (3, 3)).save(buffer, kind, icc_profile=profile)
        render(recipe, buffer.getvalue())
        transform(buffer.getvalue())
    to_srgb(np.zeros((1, 1, 3), np.uint8), profile)
