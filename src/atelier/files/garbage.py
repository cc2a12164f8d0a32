"""Every blob is at every moment referred to by a row or listed in `blob_garbage`: that list, on Django's connection.

The statements are those of `atelier.blobs.garbage`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.db import connection
from django.utils import timezone

from atelier.blobs import statements
from atelier.errors import Unavailable

INTENT = timedelta(
    hours=1
)  # far above the time in which a file that has been received is committed

INTEND = statements.INTEND.format(keys="%s", after="%s")
CLAIM = statements.CLAIM.format(keys="%s")
DISCARD = statements.DISCARD.format(keys="%s")


def intend(keys: Sequence[str]) -> None:
    """Announce, before they are written and outside any transaction, blobs that are garbage unless claimed in time."""
    with connection.cursor() as cursor:
        cursor.execute(INTEND, [list(keys), timezone.now() + INTENT])


def claim(keys: Sequence[str]) -> None:
    """Take blobs off the list in the transaction of the row that refers to them.

    Raises Unavailable when too late.
    """
    if not keys:
        return
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, [list(keys)])
        if len(cursor.fetchall()) < len(set(keys)):
            raise Unavailable("The upload took too long; send it again.", retry_after=1)


def discard(keys: Sequence[str]) -> None:
    """Put blobs on the list in the transaction that removes the last reference to them."""
    with connection.cursor() as cursor:
        cursor.execute(DISCARD, [list(keys)])


def may_remove() -> bool:
    """Whether blobs that a committed transaction has discarded may go at once.

    Else the collector removes them.
    """
    with connection.cursor() as cursor:
        cursor.execute(statements.MAY_REMOVE)
        (free,) = cursor.fetchone()
    return bool(free)
