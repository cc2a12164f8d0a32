"""Any other file: its format by its brands, else the likely one of several hundred signatures."""

from __future__ import annotations

import puremagic

from atelier.files.inspectors import Inspection, Task, isobmff
from atelier.files.inspectors.clean import clean
from atelier.files.inspectors.media_types import UNKNOWN, served


def inspect(task: Task, data: bytes) -> Inspection:
    """The likeliest format, if any is likely."""
    known = isobmff.describe(data)
    if known:
        about = {"description": known.description, "extension": known.extension}
        return Inspection("other", known.content_type, about)
    best = max(
        _matches(data), key=lambda match: (match.confidence, bool(match.mime_type)), default=None
    )
    content_type = served(best.mime_type) if best and best.mime_type else UNKNOWN
    result = {
        "description": clean(best.name) if best else "",
        "extension": clean(best.extension, 20) if best else "",
    }
    return Inspection("other", content_type, result)


def _matches(data: bytes) -> list[puremagic.PureMagicWithConfidence]:
    try:
        return list(puremagic.magic_string(data))
    except (puremagic.PureError, ValueError):
        return []
