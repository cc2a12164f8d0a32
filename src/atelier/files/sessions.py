"""Checks, on Django's connection, that the session of a token is still open."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from django.db import connection

if TYPE_CHECKING:
    from atelier.auth import Claims

_ALIVE = """
    SELECT 1 FROM refresh_families
    WHERE id = %s AND user_id = %s AND revoked_at IS NULL AND (ends_at IS NULL OR ends_at > now())
"""


async def is_alive(claims: Claims) -> bool:
    """True if the session of a token is still open.

    It blocks its thread, which has no event loop.
    """
    try:
        family = uuid.UUID(claims.session_id)
    except ValueError:
        return False
    with connection.cursor() as cursor:
        cursor.execute(_ALIVE, [family, claims.user_id])
        return cursor.fetchone() is not None
