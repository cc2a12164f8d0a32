"""Plain data: the renditions to make, those that were made, and the limits of a picture."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recipe:
    """The renditions to make of a picture.

    Each of `sizes` is "WIDTHxHEIGHT" in pixels and also the name of its rendition. `caption_font`
    is the path of a TrueType or OpenType file, or None for the bundled font, and `caption_index`
    the place of the font in a collection. In a job, `caption_font` is the font's name in the
    sender's settings: only the process that draws looks for its file.

    `flat` sizes stand for the picture itself: laid on white, always JPEG, of full quality, and
    without `upright` beside them.
    """

    sizes: tuple[str, ...]
    gray: bool = True
    caption: str = ""
    caption_size: int = 12
    caption_font: str | None = None
    caption_index: int = 0
    flat: bool = False


@dataclass(frozen=True, slots=True)
class Rendition:
    """One picture made from another; `format` is "JPEG" or "PNG", sides in pixels."""

    name: str
    width: int
    height: int
    format: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a picture; checked on its header, before any decoder sees it."""

    pixels: int = 100_000_000
    # A JPEG's side ends at 65,500 pixels, and renditions are JPEG.
    side: int = 65_000
    # UTF-8 bytes of the metadata as JSON.
    metadata: int = 16_384
