"""HEIC by pillow-heif (libheif, libde265), AVIF by Pillow (libavif, dav1d)."""

from __future__ import annotations

import io

import numpy as np
import pillow_heif
from PIL import AvifImagePlugin

from atelier.imaging.errors import SIZE_DIFFERS, BadPicture
from atelier.imaging.identify.headers import Header
from atelier.imaging.pillow import PILLOW_ERRORS, Image, pixels_of
from atelier.imaging.pixels import Pixels, opaque

# One thread, as every decoder has here: the sandboxes themselves use the processors.
pillow_heif.options.DECODE_THREADS = 1
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
# Other pictures of the file are not looked at.
pillow_heif.options.THUMBNAILS = False
pillow_heif.options.DEPTH_IMAGES = False
pillow_heif.options.AUX_IMAGES = False
PREMULTIPLIED = "RGBa"


def heic(picture: bytes, header: Header) -> Pixels:
    """The pixels of a HEIC, which libheif crops and turns upright itself; 8 bits of any depth.

    Raises:
        BadPicture: the decoder refused it.
    """
    try:
        file = pillow_heif.open_heif(picture)
        image = file[file.primary_index]
        if image.size != (header.width, header.height):
            raise BadPicture(SIZE_DIFFERS)
        pixels = np.atleast_3d(np.asarray(image))[:, : header.width]
        if image.mode == PREMULTIPLIED:
            pixels = np.asarray(Image.fromarray(pixels, "RGBa").convert("RGBA"))
    except PILLOW_ERRORS as error:
        raise BadPicture(str(error)) from error
    return opaque(pixels)


def avif(picture: bytes, header: Header) -> Pixels:
    """The pixels of an AVIF's first frame, cropped, not yet upright; 8 bits of any depth.

    Raises:
        BadPicture: the decoder refused it.
    """
    left, top = header.tags["left"], header.tags["top"]
    try:
        with Image.open(io.BytesIO(picture), formats=["AVIF"]) as image:
            if image.width * image.height != header.tags["tile"]:
                raise BadPicture(SIZE_DIFFERS)
            pixels = pixels_of(image)
    except PILLOW_ERRORS as error:
        raise BadPicture(str(error)) from error
    return opaque(pixels[top : top + header.height, left : left + header.width])


DECODERS = {"HEIC": heic, "AVIF": avif}
