"""API keys: made by a person for a program, bound to one space and to some rights.

Knows no HTTP. Of a key only the digest is kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.accounts.models import ApiKey, User
from atelier.auth import NotAllowed, Principal, Right, has, key_digest, lacks_role
from atelier.database import Database
from atelier.errors import Conflict, Invalid, NotFound, Unauthenticated
from atelier.events.messages import utcnow
from atelier.observe import audit
from atelier.observe.audit import AuditEvent

KEYS_LIMIT = 100  # of one person
NO_SPACE = "There is no such space."


async def create(
    database: Database,
    principal: Principal,
    *,
    secret: str,
    name: str,
    space_id: int,
    rights: Sequence[Right],
    expires_at: datetime | None,
    before_commit: Callable[[AsyncSession, ApiKey], Awaitable[None]],
) -> ApiKey:
    """Keep a key of `principal`.

    Raises NotFound for a space that is not theirs, NotAllowed for rights that they lack there,
    Invalid for an end that has passed, and Conflict when they have `KEYS_LIMIT` keys.
    """
    _require_rights(principal, space_id, rights)
    if expires_at is not None and expires_at <= utcnow():
        raise Invalid(
            "The key would have expired already.",
            errors=[{"loc": ["body", "expires_at"], "msg": "must be in the future"}],
        )
    async with database.session() as session:
        await _require_room(session, principal.user_id)
        made = ApiKey(
            name=name,
            created_by=principal.user_id,
            space_id=space_id,
            rights=sorted(rights),
            digest=key_digest(secret),
            created_at=utcnow(),
            expires_at=expires_at,
        )
        session.add(made)
        try:
            await session.flush()
        except IntegrityError as error:
            raise Unauthenticated("The account is gone.") from error
        await before_commit(session, made)
        await session.commit()
    audit.record(AuditEvent.KEY_MADE, key=made.id)
    return made


def _require_rights(principal: Principal, space_id: int, rights: Sequence[Right]) -> None:
    role = principal.roles.get(space_id)
    if role is None:
        raise NotFound(NO_SPACE)
    for right in rights:
        has(principal, right)
    if missing := [right for right in rights if lacks_role(role, right)]:
        raise NotAllowed(f"Your role in this space has no right to `{missing[0]}`.")


async def _require_room(session: AsyncSession, user_id: int) -> None:
    """Raise Conflict for a person with as many keys as one may have; the account stays locked."""
    await session.scalar(select(User.id).where(User.id == user_id).with_for_update(key_share=True))
    count = select(func.count()).where(ApiKey.created_by == user_id)
    if (await session.scalar(count) or 0) >= KEYS_LIMIT:
        raise Conflict(f"You have {KEYS_LIMIT} keys; delete one first.", slug="too-many-keys")


async def mine(database: Database, user_id: int) -> Sequence[ApiKey]:
    """The keys of a person, newest first."""
    async with database.session() as session:
        found = await session.scalars(
            select(ApiKey).where(ApiKey.created_by == user_id).order_by(ApiKey.id.desc())
        )
        return found.all()


async def find(database: Database, user_id: int, key_id: int) -> ApiKey:
    """One of a person's keys. Raises NotFound."""
    async with database.session() as session:
        found: ApiKey | None = await session.scalar(
            select(ApiKey).where(ApiKey.id == key_id, ApiKey.created_by == user_id)
        )
    if found is None:
        raise NotFound("There is no such key.")
    return found


async def revoke(
    database: Database, revoked: Callable[[str], Awaitable[None]], user_id: int, key_id: int
) -> None:
    """Delete one of a person's keys, and tell `revoked`. Raises NotFound."""
    async with database.session() as session:
        gone = await session.scalar(
            delete(ApiKey)
            .where(ApiKey.id == key_id, ApiKey.created_by == user_id)
            .returning(ApiKey.id)
        )
        await session.commit()
    if gone is None:
        raise NotFound("There is no such key.")
    await revoked(f"key.{key_id}")
    audit.record(AuditEvent.KEY_REVOKED, key=key_id)
