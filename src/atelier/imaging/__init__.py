"""Pictures: identify them, make renditions, write captions, compute the magic number.

Bytes in, bytes out. Knows no framework, no database and no file but its own font. Import from the
modules: `probe` is light, `renditions` and `transform` load the decoders.
"""

from __future__ import annotations

from atelier.imaging.errors import BadPicture, NotAnImage, TooManyPixels
from atelier.imaging.identify.probe import Probe, probe
from atelier.imaging.recipe import Limits, Recipe, Rendition

__all__ = [
    "BadPicture",
    "Limits",
    "NotAnImage",
    "Probe",
    "Recipe",
    "Rendition",
    "TooManyPixels",
    "probe",
]
