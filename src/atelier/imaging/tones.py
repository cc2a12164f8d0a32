"""Brings the samples that libvips loads to 8 bits of grey or sRGB, or says why it cannot.

A picture whose tones cannot be known is refused: a black one that counts as ready helps nobody.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from atelier.imaging.errors import BadPicture
from atelier.imaging.identify.headers import TIFF_WHITE_IS_ZERO, Header
from atelier.imaging.vips import BLOB, PROFILE

# libvips's names of samples, with the value that means white. Floating-point ones are from 0 to 1
# as most programs write them, whatever their profile says.
WIDE = {"uint": 2**32 - 1, "float": 1.0}
SIGNED = frozenset({"char", "short", "int"})
# How far resampling may have thrown floating-point samples beyond black and white.
OVERSHOOT = 0.1
GREY = ("b-w", "grey16")


def eight_bits(image: Any, header: Header, again: Callable[[], Any]) -> Any:
    """Brings any interpretation to 8-bit grey or sRGB, keeping alpha.

    `again` opens the same image once more, to look at its samples.

    Raises:
        BadPicture: it is not known which of the samples are black and white.
    """
    if image.interpretation == "labs":
        return image.colourspace("srgb").cast("uchar")
    if image.format in WIDE:
        image = _scaled(image, again(), header)
    elif image.format in SIGNED:
        raise BadPicture("A TIFF of signed samples: it is not known which of them are black.")
    if image.interpretation == "cmyk":
        if header.icc:
            image = image.copy()
            image.set_type(BLOB, PROFILE, header.icc)
        image = image.icc_transform("srgb", embedded=True, input_profile="cmyk", depth=8)
    grey = image.interpretation in GREY
    if image.bands > (2 if grey else 4):
        image = image.extract_band(0, n=3)
    if image.interpretation == "multiband":
        image = image.copy(interpretation="b-w" if image.bands < 3 else "srgb")
    if image.interpretation not in ("b-w", "srgb") or image.format != "uchar":
        image = image.colourspace("b-w" if grey else "srgb")
    return image.cast("uchar")


def _scaled(image: Any, same: Any, header: Header) -> Any:
    """Samples of 32 bits as those of 8, in the same proportion."""
    if image.interpretation == "cmyk":
        raise BadPicture("A TIFF of CMYK in samples of 32 bits.")
    white = WIDE[image.format]
    grey = image.interpretation in GREY
    stats, colours = same.stats(), range(1, 2 if grey else 4)  # row 0 is all bands, alpha, too
    darkest = min(stats(0, band)[0] for band in colours) / white
    lightest = max(stats(1, band)[0] for band in colours) / white
    if not (-OVERSHOOT <= darkest <= lightest <= 1 + OVERSHOOT) or math.isnan(lightest):
        raise BadPicture("A TIFF of floating-point samples beyond 0 (black) to 1 (white).")
    if 0 < lightest < 1 / 255:
        raise BadPicture("A TIFF of 32-bit samples, none of which is lighter than black.")
    # Of white as zero libvips turns integers round, and leaves the others to us.
    turned = image.format == "float" and header.tags["photometric"] == TIFF_WHITE_IS_ZERO
    scaled = image.linear(-255 if turned else 255 / white, 255.5 if turned else 0.5, uchar=True)
    return scaled.copy(interpretation="b-w" if grey else "srgb")
