"""Checks that captions can be drawn, for roles that draw and for commands that report on them."""

from __future__ import annotations

import os
from pathlib import Path

from atelier.errors import AtelierError
from atelier.imaging.fontfiles import BUNDLED, FontFile, find, read
from atelier.settings import Settings, SettingsError

UNSHAPED = (
    "libfribidi is missing: captions in Arabic, Hebrew, Hindi, Thai and the like are drawn letter "
    "by letter from left to right; docs/howto/images.md says how to install it"
)


def require_font(settings: Settings) -> FontFile:
    """Return the captions' font.

    Raises SettingsError when it cannot be used: a role that does not start is better than one that
    fails every picture.
    """
    if settings.caption_font is None:
        return BUNDLED
    from atelier.imaging.typeface import require_typeface

    try:
        font = _named(settings.caption_font)
        require_typeface(font.path, settings.caption_size, font.index)
    except (AtelierError, OSError) as error:
        reason = error.detail if isinstance(error, AtelierError) else error.strerror
        raise SettingsError(
            f"caption_font: {settings.caption_font} cannot be used: {reason}"
        ) from error
    return font


def _named(wanted: str) -> FontFile:
    """Return a font file: a path that is written as one or exists, else an installed font's."""
    path = Path(wanted)
    if not path.is_file():
        return FontFile(path) if os.sep in wanted else find(wanted)
    return next(iter(read(path)), FontFile(path))


def unshaped() -> str | None:
    """Describe how captions suffer where Pillow finds no libfribidi; None where it does."""
    from atelier.imaging.shaping import shapes

    return None if shapes() else UNSHAPED
