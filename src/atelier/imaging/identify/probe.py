"""Identifies a picture before anything decodes it: format, displayed size, metadata, limits.

Light enough for a web process: it parses header bytes itself and loads no imaging library.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from atelier.imaging.errors import TooManyPixels
from atelier.imaging.identify.budget import Budget
from atelier.imaging.identify.headers import Header, read_header
from atelier.imaging.identify.metadata import SIDEWAYS, describe, orientation
from atelier.imaging.recipe import Limits

MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "HEIC": "image/heic",
    "AVIF": "image/avif",
}


@dataclass(frozen=True, slots=True)
class Probe:
    """The facts in a picture's header; sides in pixels as displayed (upright)."""

    format: str
    media_type: str
    width: int
    height: int
    orientation: int
    frames: int
    metadata: dict[str, Any] = field(default_factory=dict)


def probe(data: bytes, limits: Limits | None = None, budget: Budget | None = None) -> Probe:
    """Identifies a picture.

    Whatever the file says, this takes no more than `budget`. A size that cannot be told within it
    is a damaged header; of the rest, what was not reached is left out.

    Raises:
        NotAnImage: not a supported format (SVG, PDF and EPS are none, whatever their name).
        TooManyPixels: larger than `limits`.
        BadPicture: the header is damaged.
    """
    limits, budget = limits or Limits(), budget or Budget()
    header = read_header(data, budget)
    check(header, limits)
    turn = orientation(header, budget)
    width, height = header.width, header.height
    if turn in SIDEWAYS:
        width, height = height, width
    metadata = describe(header, limits.metadata, budget)
    return Probe(
        header.format, MEDIA_TYPES[header.format], width, height, turn, header.frames, metadata
    )


def check(header: Header, limits: Limits) -> None:
    """Raises TooManyPixels if a header announces more than `limits` allow."""
    pixels = max(header.width * header.height, header.tags.get("tile", 0))
    if pixels > limits.pixels or max(header.width, header.height) > limits.side:
        raise TooManyPixels(
            f"{header.width}x{header.height} pixels; the limit is {limits.pixels} in all and "
            f"{limits.side} a side."
        )
