"""Errors of a picture: it is none, it is too large, or its decoder refuses it."""

from __future__ import annotations

import re

from atelier.errors import Invalid, Unsupported

SIZE_DIFFERS = "The picture is not of the size that its header says."
# The path of a file, with the line in it that decoders written in C++ add.
_PATH = re.compile(r"(?<![\w/])(?:/[^\s/:\"']+){2,}(?::\d+)?")


class NotAnImage(Unsupported):
    """This is not an image of a kind that can be decoded here."""

    slug = "not-an-image"


class TooManyPixels(Invalid):
    """The picture has more pixels than the limit."""

    slug = "too-many-pixels"


class BadPicture(Unsupported):
    """The picture is damaged and cannot be decoded.

    Its reason may be a decoder's own words, from which the paths of this machine are taken out.
    """

    slug = "bad-picture"

    def __init__(self, reason: str = "") -> None:
        super().__init__(_PATH.sub("(a file)", reason))
        self.reason = self.detail
