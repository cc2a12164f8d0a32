"""Encodes pixels without metadata: JPEG if opaque, PNG with alpha or if too large for JPEG."""

from __future__ import annotations

import numpy as np
import simplejpeg

from atelier.imaging.pixels import Pixels

MAX_JPEG_SIDE = 65_500
# zlib level: above it, time doubles for one per cent of bytes. Of large pictures the lower one,
# which takes two fifths of the time for a fifth more bytes: they would not be done in time.
PNG_LEVEL, PNG_LEVEL_LARGE = 6, 2
PNG_LARGE_PIXELS = 12_000_000
# Bytes of a profile that one APP2 segment can hold beside its own header.
ICC_SEGMENT_BYTES = 65_519
ICC_MAX_SEGMENTS = 255


def encode(pixels: Pixels, quality: int, icc: bytes = b"") -> tuple[str, bytes]:
    """Returns the format ("JPEG" or "PNG") and the encoded picture with the profile `icc`."""
    height, width, channels = pixels.shape
    pixels = np.ascontiguousarray(pixels)
    if channels in (2, 4) or max(height, width) > MAX_JPEG_SIDE:
        return "PNG", _png(pixels, icc)
    space, subsampling = ("GRAY", "Gray") if channels == 1 else ("RGB", "420")
    return "JPEG", embed_profile(simplejpeg.encode_jpeg(pixels, quality, space, subsampling), icc)


def _png(pixels: Pixels, icc: bytes) -> bytes:
    from atelier.imaging.vips import BLOB, PROFILE, Image

    height, width, channels = pixels.shape
    image = Image.new_from_memory(pixels, width, height, channels, "uchar")
    image = image.copy(interpretation="b-w" if channels < 3 else "srgb")
    if icc:
        image = image.copy()
        image.set_type(BLOB, PROFILE, icc)
    level = PNG_LEVEL_LARGE if width * height > PNG_LARGE_PIXELS else PNG_LEVEL
    data: bytes = image.pngsave_buffer(compression=level, keep="icc" if icc else "none")
    return data


def embed_profile(jpeg: bytes, icc: bytes) -> bytes:
    """Splices a profile into a JPEG right after its JFIF segment (ICC.1:2010, annex B.4)."""
    chunks = [
        icc[start : start + ICC_SEGMENT_BYTES] for start in range(0, len(icc), ICC_SEGMENT_BYTES)
    ]
    if not chunks or len(chunks) > ICC_MAX_SEGMENTS:
        return jpeg
    place = 4 + int.from_bytes(jpeg[4:6]) if jpeg[2:4] == b"\xff\xe0" else 2
    segments = b"".join(
        b"\xff\xe2"
        + (len(chunk) + 16).to_bytes(2)
        + b"ICC_PROFILE\0"
        + bytes((number, len(chunks)))
        + chunk
        for number, chunk in enumerate(chunks, 1)
    )
    return jpeg[:place] + segments + jpeg[place:]
