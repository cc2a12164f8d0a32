"""Sessions for processes other than the API: check that one is open, and purge the old ones.

Knows no HTTP.
"""

from __future__ import annotations

import uuid
from datetime import timedelta

from atelier.auth import Claims
from atelier.database import Database

KEEP_DEAD = timedelta(
    days=1
)  # how long an ended family is kept, so that reuse of its tokens is told from a forgery
_ALIVE = """
    SELECT 1 FROM refresh_families
    WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL AND (ends_at IS NULL OR ends_at > now())
"""
_PURGE = "DELETE FROM refresh_families WHERE expires_at < now() - $1::interval RETURNING id"
_PURGE_LINKS = """
    DELETE FROM account_links WHERE expires_at < now() - $1::interval OR used_at IS NOT NULL
"""


async def is_alive(database: Database, claims: Claims) -> bool:
    """True if a token's session, and so its user, still exists: for `auth.Authenticator`."""
    try:
        family = uuid.UUID(claims.session_id)
    except ValueError:
        return False
    return await database.fetchrow(_ALIVE, family, claims.user_id) is not None


async def purge(database: Database) -> int:
    """Remove families that expired a while ago, and old or used links; returns how many families.

    A used link is not kept: its token would be refused all the same.
    """
    await database.fetch(_PURGE_LINKS, KEEP_DEAD)
    return len(await database.fetch(_PURGE, KEEP_DEAD))
