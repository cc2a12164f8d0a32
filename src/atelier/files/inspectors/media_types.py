"""What may be served as a media type: nothing else from inside a file becomes a header."""

from __future__ import annotations

import re

UNKNOWN = "application/octet-stream"
# RFC 6838, 4.2, without parameters, of the types that files have.
_ESSENCE = re.compile(
    r"(?:application|audio|chemical|font|image|message|model|multipart|text|video)"
    r"/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,99}"
)


def served(content_type: str) -> str:
    """The type itself if it is one and nothing more, else that of any bytes.

    Inspectors choose from tables, but they work on untrusted bytes in a child, and rows may be
    older than the tables.
    """
    return content_type if _ESSENCE.fullmatch(content_type) else UNKNOWN
