"""Loads everything that imaging may need later, for a process about to give up its files."""

from __future__ import annotations

import io
from base64 import b64decode
from contextlib import suppress

import numpy as np
from PIL import Image, ImageCms

from atelier.imaging.colour import to_srgb
from atelier.imaging.errors import BadPicture
from atelier.imaging.identify.metadata import profile_name
from atelier.imaging.recipe import Recipe
from atelier.imaging.renditions import render
from atelier.imaging.transform import transform

# A HEIC of 64 by 64 grey pixels: its encoder need not be loaded.
HEIC = b64decode(
    b"AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAUJtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAA"
    b"AAAAAAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABZgABAAAAAAAAAA4AAAAjaWluZgAAAAAAAQAAABVpbmZlAgAA"
    b"AAABAABodmMxAAAAAA5waXRtAAAAAAABAAAAwmlwcnAAAACkaXBjbwAAAHhodmNDAQNwAAAAkAAAAAAAHvAA/P34"
    b"+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQArQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbqSSmu"
    b"bgIaDAgAAAMAyAAAAwAIQGIAAQAHRAHBcrAiQAAAABRpc3BlAAAAAAAAAEAAAABAAAAAEHBpeGkAAAAAAwgICAAA"
    b"ABZpcG1hAAAAAAAAAAEAAQOBAgMAAAAWbWRhdAAAAAooAa8FGP0hJBrA"
)
# An AVIF of one grey pixel.
AVIF = b64decode(
    b"AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUIAAADrbWV0YQAAAAAAAAAhaGRscgAAAAAAAAAAcGljdAAA"
    b"AAAAAAAAAAAAAAAAAAAOcGl0bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAETAAAAHgAAAChpaW5mAAAA"
    b"AAABAAAAGmluZmUCAAAAAAEAAGF2MDFDb2xvcgAAAABqaXBycAAAAEtpcGNvAAAAFGlzcGUAAAAAAAAAAQAAAAEA"
    b"AAAQcGl4aQAAAAADCAgIAAAADGF2MUOBAAwAAAAAE2NvbHJuY2x4AAEADQAGgAAAABdpcG1hAAAAAAAAAAEAAQQB"
    b"AoMEAAAAJm1kYXQSAAoIGAAGiAhoNCAyEB/3h4UV3///4sAAAJA1l/A="
)


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
    for picture in (HEIC, AVIF):
        render(recipe, picture)
        transform(picture)
    _warm_up_second_decoders()
    to_srgb(np.zeros((1, 1, 3), np.uint8), profile)


def _warm_up_second_decoders() -> None:
    """Renders a JPEG that has a wrong end, and a TIFF each of CIELAB and of 32-bit samples."""
    for mode, kind in (("RGB", "JPEG"), ("LAB", "TIFF"), ("F", "TIFF")):
        buffer = io.BytesIO()
        Image.new(mode, (64, 64)).save(buffer, kind)
        picture = buffer.getvalue()
        with suppress(BadPicture):
            render(Recipe(("1x1",)), picture[:-8] if kind == "JPEG" else picture)
