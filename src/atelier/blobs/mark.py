"""A store's mark in words: whose blobs these are. Knows no store and no database."""

from __future__ import annotations

import re

UNFINISHED = (
    b"An unfinished copy: run `atelier blobs copy` again.\n"  # a mark begins so until all is there
)
UNREADABLE, COPYING = "unreadable", "copying"
_ID = re.compile(rb'"instance": "([0-9a-f-]{36})"')


def written(instance: str) -> bytes:
    """The mark of a database that calls itself so."""
    return f'{{"instance": "{instance}", "note": "Atelier keeps blobs here; leave this file."}}\n'.encode()


def read(mark: bytes | None) -> str | None:
    """The database's name, `COPYING`, `UNREADABLE`, or None where there is no mark."""
    if not mark:
        return None
    if mark.startswith(UNFINISHED):
        return COPYING
    found = _ID.search(mark)
    return found[1].decode() if found else UNREADABLE
