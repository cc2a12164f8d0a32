"""Quotas on Django's connection: the statements and the judgement are those of `atelier.wire`."""

from __future__ import annotations

from typing import Any

from django.db import connection, transaction

from atelier.files import django_setup
from atelier.wire import allowance as law
from atelier.wire.allowance import Allowance

_OWNER = {"owner": "%(owner)s"}
_USAGE = law.USAGE.format(**_OWNER)
_STOP_INSERTS = law.STOP_INSERTS.format(**_OWNER)
_COUNT = law.COUNT.format(**_OWNER)


def require_room(owner_id: int, size: int) -> None:
    """Judge whether an object fits, before it is stored; `confirm` judges again.

    Must not run within a transaction. Raises Forbidden.
    """
    allowance = _allowance()
    if allowance.is_limited:
        used = _usage(owner_id) or _counted(owner_id)
        if used is not None:
            allowance.require_room(used, size)


def confirm(owner_id: int, size: int) -> None:
    """Judge whether the object that this transaction has made fits. Raises Forbidden."""
    allowance = _allowance()
    if allowance.is_limited and (used := _usage(owner_id)) is not None:
        allowance.confirm(used, size)


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
        cursor.execute(_COUNT, {"owner": owner_id})
    return _usage(owner_id)
