"""Stored files that the nginx before us sends in our stead."""

from __future__ import annotations

from pathlib import Path

from atelier.errors import NotFound

ACCEL = "X-Accel-Redirect"
# nginx would judge these by what it knows of the file. If-None-Match, If-Modified-Since and
# If-Range are judged here.
UNPROXIED = frozenset({"if-match", "if-unmodified-since"})


def file_size(path: Path) -> int:
    """Bytes of a file that the proxy will send. Raises NotFound."""
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound("The content is gone.") from error
