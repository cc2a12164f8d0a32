"""Which pictures every browser shows as they are stored, and of which a view is made.

Judged by their first bytes, as formats are. Knows no task.
"""

from __future__ import annotations

from enum import Enum, auto

from atelier.imaging.errors import BadPicture, NotAnImage
from atelier.imaging.identify.budget import Budget
from atelier.imaging.identify.headers import Header, read_header

# Shown by every browser, whatever is in them.
AS_STORED = frozenset({"GIF", "WEBP", "AVIF"})
BY_HEADER = frozenset({"JPEG", "PNG"})
# What the image processor decodes besides.
DECODED = frozenset({"TIFF", "BMP", "HEIC", "HEIF"})
# Baseline, extended and progressive: the processes of JPEG that browsers decode, by their markers.
PROCESSES = frozenset({0xC0, 0xC1, 0xC2})


class Showing(Enum):
    """How a picture can be shown."""

    STORED = auto()  # as it is
    MADE = auto()  # by a view that is made of it
    NEVER = auto()


def showing(name: str, head: bytes = b"") -> Showing:
    """How to show a picture of the format `name` with the first bytes `head`.

    `head` counts only for formats of `BY_HEADER`; what it does not tell is made.
    """
    if name in AS_STORED or (name in BY_HEADER and _plain(head)):
        return Showing.STORED
    return Showing.MADE if name in BY_HEADER | DECODED else Showing.NEVER


def _plain(head: bytes) -> bool:
    try:
        header = read_header(head, Budget(inflated=0))
    except (BadPicture, NotAnImage):
        return False
    return _plain_jpeg(header) if header.format == "JPEG" else header.bits <= 8


def _plain_jpeg(header: Header) -> bool:
    return (
        header.bits == 8
        and header.mode in {"L", "RGB"}
        and header.tags.get("process") in PROCESSES
    )
