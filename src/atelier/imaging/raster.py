"""Decoders: bytes to pixels. A truncated picture is an error."""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import simplejpeg

from atelier.imaging import bmp
from atelier.imaging.errors import SIZE_DIFFERS, BadPicture
from atelier.imaging.identify.headers import Header
from atelier.imaging.identify.metadata import SIDEWAYS, orientation
from atelier.imaging.jpeg import essentials, require_whole
from atelier.imaging.pixels import BUFFERS, Pixels, opaque

# The precision of a JPEG's samples that its decoders give back as it is.
JPEG_BITS = 8
# TIFF's 8-bit CIELAB, and how many of its rows are converted at once.
LAB_BITS, LAB_ROWS = 8, 256


@dataclass(slots=True)
class Raster:
    """Stored (not yet upright) pixels of shape (height, width, channels).

    One channel is grey, two grey with alpha, three RGB, four RGB with alpha. `canvas` is the
    memory at whose start they lie, with the spare rows that were asked for below them.
    """

    pixels: Pixels
    canvas: Pixels
    icc: bytes = b""

    @property
    def alpha(self) -> bool:
        """True if the last channel is opacity."""
        return self.pixels.shape[2] in (2, 4)


def as_decoded(header: Header) -> tuple[Header, int]:
    """The header and the orientation of what `decode` gives: HEIC's own decoder turns it."""
    turn = orientation(header)
    if header.format != "HEIC":
        return header, turn
    width, height = header.width, header.height
    if turn in SIDEWAYS:
        width, height = height, width
    return replace(header, width=width, height=height, orientation=1), 1


def decode(
    picture: bytes, header: Header, *, spare_rows: int = 0, exact: bool = True, divisor: int = 1
) -> Raster:
    """Decodes a picture whose header has passed the limits, as `as_decoded` gives it.

    The pixels lie in a buffer of the thread, followed by `spare_rows` rows that the caller may
    write on. Without `exact`, colours of subsampled JPEGs are replicated instead of interpolated,
    right if the picture is shrunk afterwards. A JPEG is decoded at its size over `divisor` (1, 2,
    4 or 8; rounded up), which saves most of its inverse transform; other formats have no such
    option and come whole.

    Raises:
        BadPicture: the decoder refused it.
    """
    if header.format == "JPEG" and header.bits != JPEG_BITS:
        raise BadPicture(f"A JPEG of {header.bits} bits a sample; only those of 8 can be shown.")
    if header.format == "JPEG" and header.channels in (1, 3):
        return _jpeg(picture, header, spare_rows, divisor, exact=exact)
    return _spare(*_whole(picture, header), spare_rows)


def _whole(picture: bytes, header: Header) -> tuple[Pixels, bytes]:
    if header.format == "BMP":
        direct = bmp.layout(picture)
        return (opaque(bmp.decode(picture, direct)) if direct else _bmp(picture)), b""
    if header.format in ("HEIC", "AVIF"):
        from atelier.imaging import heif

        return heif.DECODERS[header.format](picture, header), header.icc
    if header.format == "WEBP" and header.frames == 1:
        return _webp(picture, header), header.icc
    if header.format == "TIFF" and header.mode.startswith("LAB") and header.bits == LAB_BITS:
        return _lab(picture, header), b""
    return _cmyk(picture, header) if header.format == "JPEG" else _vips(picture, header)


def _cmyk(picture: bytes, header: Header) -> tuple[Pixels, bytes]:
    try:
        # Only to hear its complaints, so as small as it can be: libvips has none.
        simplejpeg.decode_jpeg(picture, "CMYK", min_height=1, min_width=1)
    except ValueError:
        return _odd_jpeg(picture, header)
    return _vips(picture, header)


def _jpeg(picture: bytes, header: Header, spare_rows: int, divisor: int, *, exact: bool) -> Raster:
    space = "GRAY" if header.channels == 1 else "RGB"
    rows, columns = -(-header.height // divisor), -(-header.width // divisor)
    canvas = BUFFERS.take("decode", rows + spare_rows, columns, header.channels)
    least = {"min_height": rows, "min_width": columns} if divisor > 1 else {}
    # The second without what the first may have complained of: all that is not of its pixels.
    for take in (bytes, essentials):
        with suppress(ValueError):
            pixels = simplejpeg.decode_jpeg(
                take(picture), space, fastupsample=not exact, buffer=canvas, **least
            )
            if pixels.shape != (rows, columns, header.channels):
                raise BadPicture(SIZE_DIFFERS)
            return Raster(pixels, canvas, header.icc)
    return _spare(*_odd_jpeg(picture, header), spare_rows)


def _odd_jpeg(picture: bytes, header: Header) -> tuple[Pixels, bytes]:
    """By libvips, which takes every chroma sampling and complains of truncation alone."""
    profiles: list[bytes] = []

    def decoded(jpeg: bytes) -> Pixels:
        pixels, icc = _vips(jpeg, header)
        profiles.append(icc)
        return pixels

    return require_whole(picture, decoded), profiles[-1]


def _bmp(picture: bytes) -> Pixels:
    from atelier.imaging.pillow import PILLOW_ERRORS, Image, pixels_of

    try:
        with Image.open(io.BytesIO(picture), formats=["BMP", "DIB"]) as image:
            mode = "L" if image.mode in ("1", "L") else "RGB"
            shown = image if image.mode == mode else image.convert(mode)
            pixels = pixels_of(shown)
    except PILLOW_ERRORS as error:
        raise BadPicture(str(error)) from error
    return pixels


def _webp(picture: bytes, header: Header) -> Pixels:
    """By OpenCV, in half the memory that libvips takes, which keeps every frame's canvas."""
    decoded = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None:
        raise BadPicture("The picture is damaged, or ends before its last row.")
    pixels = decoded.astype(np.uint8, copy=False)
    if pixels.shape[:2] != (header.height, header.width):
        raise BadPicture(SIZE_DIFFERS)
    code = cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
    cv2.cvtColor(pixels, code, dst=pixels)
    return opaque(pixels)


def _lab(picture: bytes, header: Header) -> Pixels:
    """A TIFF of 8-bit CIELAB, which libvips cannot load; by Pillow, a strip at a time."""
    from PIL import ImageCms

    from atelier.imaging.pillow import PILLOW_ERRORS, Image

    transform = ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )
    pixels = np.empty((header.height, header.width, 3), np.uint8)
    try:
        with Image.open(io.BytesIO(picture), formats=["TIFF"]) as image:
            image.seek(header.tags.get("page", 0))
            if (image.mode, image.size) != ("LAB", (header.width, header.height)):
                raise BadPicture("A TIFF of CIELAB in samples that cannot be read.")
            for top in range(0, header.height, LAB_ROWS):
                below = min(top + LAB_ROWS, header.height)
                strip = image.crop((0, top, header.width, below))
                pixels[top:below] = np.asarray(ImageCms.applyTransform(strip, transform))
    except (*PILLOW_ERRORS, ImageCms.PyCMSError) as error:
        raise BadPicture(str(error)) from error
    return pixels


def _vips(picture: bytes, header: Header) -> tuple[Pixels, bytes]:
    from atelier.imaging.tones import eight_bits
    from atelier.imaging.vips import VipsError

    def opened() -> Any:
        return _open_vips(picture, header)

    try:
        image = opened()
        if (image.width, image.height) != (header.width, header.height):
            raise BadPicture(SIZE_DIFFERS)
        of_profile = ("srgb", "rgb", "rgb16", "b-w", "grey16", "scrgb")
        icc = header.icc if image.interpretation in of_profile else b""
        image = eight_bits(image, header, opened)
        pixels = np.frombuffer(image.write_to_memory(), np.uint8).reshape(
            image.height, image.width, image.bands
        )
    except VipsError as error:
        raise BadPicture(_reason(error)) from error
    return opaque(pixels), icc


def _open_vips(picture: bytes, header: Header) -> Any:
    from atelier.imaging.vips import Image

    load = {
        "JPEG": Image.jpegload_buffer,
        "PNG": Image.pngload_buffer,
        "WEBP": Image.webpload_buffer,
        "GIF": Image.gifload_buffer,
        "TIFF": Image.tiffload_buffer,
    }[header.format]
    options = {}
    if header.format == "TIFF":
        options = {"page": header.tags.get("page", 0), "subifd": header.tags.get("part", -1)}
    return load(picture, access="sequential", fail_on="error", **options)


def _reason(error: Exception) -> str:
    """The first line of libvips's error, without the function's name."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[1] if len(lines) > 1 else lines[0] if lines else "undecodable")[:200]


def _spare(pixels: Pixels, icc: bytes, rows: int) -> Raster:
    """Moves pixels into the thread's buffer if the caller wants to write below them."""
    if not rows:
        return Raster(pixels, pixels, icc)
    height, width, channels = pixels.shape
    canvas = BUFFERS.take("decode", height + rows, width, channels)
    canvas[:height] = pixels
    return Raster(canvas[:height], canvas, icc)
