"""Finds whose credentials are on Django's connection: for processes that the API does not embed.

Its coroutines block their thread, which has no event loop.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.db import connection

from atelier.auth import Claims, Found, Principal
from atelier.auth.statements import COOKIE, KEY, SESSION, key, percent, person

_SESSION, _COOKIE, _KEY = map(percent, (SESSION, COOKIE, KEY))


class Credentials:
    """Whose a credential is, by the database: for `auth.Authenticator`."""

    def __init__(self, days: int) -> None:
        self._days = days  # that a cookie lives without being used

    async def session(self, claims: Claims) -> Principal | None:
        """The user of an access token; None once the session or the account has ended."""
        if (family := claims.family) is None:
            return None
        row = _row(_SESSION, family, claims.user_id)
        return None if row is None else person(row)

    async def cookie(self, family: uuid.UUID, digest: bytes) -> Principal | None:
        """The user of a cookie, which counts as used now."""
        row = _row(_COOKIE, self._days, family, digest)
        return None if row is None else person(row, via_cookie=True)

    async def key(self, digest: bytes) -> Found | None:
        """The rights of an API key, which counts as used now."""
        row = _row(_KEY, digest)
        principal = None if row is None else key(row)
        return None if row is None or principal is None else (principal, row["expires"])


def _row(statement: str, *values: object) -> dict[str, Any] | None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        row = cursor.fetchone()
        names = [column.name for column in cursor.description]
    return None if row is None else dict(zip(names, row, strict=True))
