"""Finds whose credentials are on asyncpg's pool, and purges the sessions that are over.

Knows no HTTP.
"""

from __future__ import annotations

import uuid
from datetime import timedelta

from atelier.auth import Claims, Found, Principal
from atelier.auth.statements import COOKIE, KEY, SESSION, key, person
from atelier.database import Database

KEEP_DEAD = timedelta(
    days=1
)  # how long an ended family is kept, so that reuse of its tokens is told from a forgery
_PURGE_LINKS = """
    DELETE FROM account_links WHERE expires_at < now() - $1::interval OR used_at IS NOT NULL
"""
_PURGE = "DELETE FROM refresh_families WHERE expires_at < now() - $1::interval RETURNING id"


class Credentials:
    """Whose a credential is, by the database: for `auth.Authenticator`."""

    def __init__(self, database: Database, days: int) -> None:
        self._database = database
        self._days = days  # that a cookie lives without being used

    async def session(self, claims: Claims) -> Principal | None:
        """The user of an access token; None once the session or the account has ended."""
        if (family := claims.family) is None:
            return None
        row = await self._database.fetchrow(SESSION, family, claims.user_id)
        return None if row is None else person(row)

    async def cookie(self, family: uuid.UUID, digest: bytes) -> Principal | None:
        """The user of a cookie, which counts as used now."""
        row = await self._database.fetchrow(COOKIE, self._days, family, digest)
        return None if row is None else person(row, via_cookie=True)

    async def key(self, digest: bytes) -> Found | None:
        """The rights of an API key, which counts as used now."""
        row = await self._database.fetchrow(KEY, digest)
        principal = None if row is None else key(row)
        return None if row is None or principal is None else (principal, row["expires"])


async def purge(database: Database) -> int:
    """Remove families that expired a while ago, and old or used links; returns how many families.

    A used link is not kept: its token would be refused all the same.
    """
    await database.fetch(_PURGE_LINKS, KEEP_DEAD)
    return len(await database.fetch(_PURGE, KEEP_DEAD))
