"""Quotas on Django's connection: the statements and the judgement are those of `atelier.wire`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db import connection, transaction

from atelier.files import django_setup
from atelier.wire import allowance as law
from atelier.wire.allowance import Allowance

_OWNER = {"owner": "%(owner)s"}
_USAGE = law.USAGE.format(**_OWNER)
_STOP_INSERTS = law.STOP_INSERTS.format(**_OWNER)
_STOP_DELETIONS = law.STOP_DELETIONS.format(**_OWNER)
_COUNT = law.COUNT.format(**_OWNER)
_HOLD, _TURN = (each.format(spaces="%(spaces)s") for each in (law.HOLD, law.TURN))


def begin(space_id: int) -> None:
    """Have a space counted before a transaction moves things into it."""
    if _allowance().is_limited and _usage(space_id) is None:
        _counted(space_id)


def hold(space_ids: Collection[int]) -> set[int]:
    """Keep spaces from being deleted or counted anew until the commit; those that there are.

    Whoever moves things holds both ends before the rows are locked.
    """
    with connection.cursor() as cursor:
        cursor.execute(_HOLD, {"spaces": list(space_ids)})
        return {row[0] for row in cursor.fetchall()}


def take_turn(space_ids: Collection[int]) -> None:
    """Wait for others who change what is counted of these spaces: before the rows are moved."""
    with connection.cursor() as cursor:
        cursor.execute(_TURN, {"spaces": list(space_ids)})


def require_room(owner_id: int, size: int) -> None:
    """Judge whether an object fits, before it is stored; `confirm` judges again.

    Must not run within a transaction. Raises Forbidden.
    """
    allowance = _allowance()
    if allowance.is_limited:
        used = _usage(owner_id) or _counted(owner_id)
        if used is not None:
            allowance.require_room(used, size)


def confirm(owner_id: int, size: int, number: int = 1) -> None:
    """Judge whether `number` objects that this transaction has made or moved fit.

    They have `size` bytes together. Raises Forbidden.
    """
    allowance = _allowance()
    if allowance.is_limited and (used := _usage(owner_id)) is not None:
        allowance.confirm(used, size, number)


def _allowance() -> Allowance:
    settings = django_setup.context().settings
    return Allowance(settings.quota_objects, settings.quota_bytes)


def _usage(owner_id: int) -> dict[str, Any] | None:
    with connection.cursor() as cursor:
        cursor.execute(_USAGE, {"owner": owner_id})
        row = cursor.fetchone()
    return None if row is None else {"objects": row[0], "bytes": row[1]}


def _counted(owner_id: int) -> dict[str, Any] | None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(law.PATIENCE)
        cursor.execute(_STOP_INSERTS, {"owner": owner_id})
        cursor.execute(_STOP_DELETIONS, {"owner": owner_id})
        cursor.execute(_COUNT, {"owner": owner_id})
    return _usage(owner_id)
