"""A lookup of credentials for tests without a database: every session of a user stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atelier.auth import Principal, Role

if TYPE_CHECKING:
    import uuid

    from atelier.auth import Claims, Found


def person(user_id: int, session_id: str) -> Principal:
    """A user with their own space."""
    return Principal(user_id, session_id, roles={user_id: Role.OWNER})


class Everybody:
    """Each token's session is open; there are no keys and no cookies but those that are given."""

    def __init__(self) -> None:
        self.keys: dict[bytes, Principal] = {}
        self.cookies: dict[bytes, Principal] = {}

    async def session(self, claims: Claims) -> Principal | None:
        """The user of the token."""
        return person(claims.user_id, claims.session_id)

    async def cookie(self, family: uuid.UUID, digest: bytes) -> Principal | None:
        """One that was given."""
        assert family
        return self.cookies.get(digest)

    async def key(self, digest: bytes) -> Found | None:
        """One that was given, without an end."""
        found = self.keys.get(digest)
        return None if found is None else (found, None)
