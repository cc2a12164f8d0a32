"""The list `blob_garbage` on Django's connection.

At every moment each blob is referred to by a row or is on the list. The statements are those of
`atelier.blobs.garbage`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.db import connection

from atelier.blobs import statements
from atelier.errors import Unavailable

INTENT = timedelta(hours=1)  # far above the time in which a received file is committed

INTEND = statements.INTEND.format(keys="%s", life="%s")
CLAIM = statements.CLAIM.format(keys="%s")
DISCARD = statements.DISCARD.format(keys="%s")


def intend(keys: Sequence[str]) -> None:
    """List blobs as garbage before they are written, outside any transaction.

    They are collected unless a row claims them in time.
    """
    with connection.cursor() as cursor:
        cursor.execute(INTEND, [list(keys), INTENT])


def claim(keys: Sequence[str]) -> None:
    """Take blobs off the list in the transaction of the row that refers to them.

    Raises Unavailable if it is too late.
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
    """True if blobs discarded by a committed transaction may be removed at once.

    Otherwise the collector removes them.
    """
    with connection.cursor() as cursor:
        cursor.execute(statements.MAY_REMOVE)
        (free,) = cursor.fetchone()
    return bool(free)
