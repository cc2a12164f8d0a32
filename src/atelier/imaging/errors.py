"""Errors of a picture: it is none, it is too large, or its decoder refuses it."""

from __future__ import annotations

from atelier.errors import Invalid, Unsupported


class NotAnImage(Unsupported):
    """This is not an image of a kind that can be decoded here."""

    slug = "not-an-image"


class TooManyPixels(Invalid):
    """The picture has more pixels than the limit."""

    slug = "too-many-pixels"


class BadPicture(Unsupported):
    """The picture is damaged and cannot be decoded."""

    slug = "bad-picture"

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
