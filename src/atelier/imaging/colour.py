"""ICC profiles: which ones matter, and the conversion of small pictures to sRGB."""

from __future__ import annotations

import io

import numpy as np

from atelier.imaging.identify.metadata import profile_name
from atelier.imaging.pixels import Pixels

# Profiles with the tone curve of sRGB: grey made from their pixels is right without a conversion.
SRGB_CURVE = ("Display P3", "sRGB")


def significant(icc: bytes) -> bytes:
    """The profile, or empty bytes if it is sRGB, which a missing profile means too."""
    return b"" if "srgb" in profile_name(icc).lower() else icc


def has_srgb_curve(icc: bytes) -> bool:
    """True if luminance can be computed from pixels of this profile as from sRGB ones."""
    return not icc or profile_name(icc).startswith(SRGB_CURVE)


def to_srgb(pixels: Pixels, icc: bytes) -> Pixels:
    """Converts pixels from a profile to sRGB, keeping alpha.

    A damaged profile, or one of another colour space, is ignored.
    """
    if not icc:
        return pixels
    from PIL import Image, ImageCms

    colours = pixels.shape[2] - (pixels.shape[2] in (2, 4))
    mode = "L" if colours == 1 else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        image = Image.fromarray(
            np.ascontiguousarray(pixels[..., :colours]).squeeze(axis=2)
            if colours == 1
            else np.ascontiguousarray(pixels[..., :colours])
        )
        converted = np.asarray(ImageCms.applyTransform(image, transform))
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return pixels
    result = pixels.copy()
    result[..., :colours] = converted[..., 1:2] if colours == 1 else converted
    return result
