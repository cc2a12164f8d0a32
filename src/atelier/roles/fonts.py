"""Can the captions' font be used: for the roles that draw, and for those who look after them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atelier.errors import AtelierError
from atelier.settings import SettingsError

if TYPE_CHECKING:
    from atelier.settings import Settings


def require_font(settings: Settings) -> None:
    """Raises SettingsError when the captions' font cannot be used: better no start than every picture failed."""
    if settings.caption_font is None:
        return
    from atelier.imaging.typeface import require_typeface  # noqa: PLC0415 - most starts need not look

    try:
        require_typeface(settings.caption_font, settings.caption_size)
    except (AtelierError, OSError) as error:
        reason = error.detail if isinstance(error, AtelierError) else error.strerror
        raise SettingsError(f"caption_font: {settings.caption_font} cannot be used: {reason}") from error
