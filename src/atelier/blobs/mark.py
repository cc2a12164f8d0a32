"""The text of a store's mark: which database its blobs belong to.

Knows no store and no database.
"""

from __future__ import annotations

import re

# A mark begins with this until the copy is complete.
UNFINISHED = b"An unfinished copy: run `atelier blobs copy` again.\n"
UNREADABLE, COPYING = "unreadable", "copying"
_ID = re.compile(rb'"instance": "([0-9a-f-]{36})"')


def written(instance: str) -> bytes:
    """Format the mark of the database with this name."""
    note = "Atelier keeps blobs here; leave this file."
    return f'{{"instance": "{instance}", "note": "{note}"}}\n'.encode()


def read(mark: bytes | None) -> str | None:
    """Parse a mark: the database's name, `COPYING`, `UNREADABLE`, or None without a mark."""
    if not mark:
        return None
    if mark.startswith(UNFINISHED):
        return COPYING
    found = _ID.search(mark)
    return found[1].decode() if found else UNREADABLE
