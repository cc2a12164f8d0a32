"""The use cases of a team's space: make, rename, delete it with everything in it.

One use case, one transaction, an explicit commit. Knows no HTTP and no other slice: functions of
the caller delete what they keep in a space.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from sqlalchemy import delete as delete_from
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.auth import Principal, Role
from atelier.database import Database
from atelier.errors import PreconditionFailed, Unauthenticated
from atelier.events.messages import utcnow
from atelier.http import allowance
from atelier.observe import audit
from atelier.observe.audit import AuditEvent
from atelier.spaces import events, rows
from atelier.spaces.errors import TooManySpaces
from atelier.spaces.models import Member
from atelier.spaces_table import Space

Forget = Callable[[AsyncSession, int], Awaitable[None]]
Expected = Callable[[str], bool]  # judges the present entity tag (If-Match)

_LOCK_USER = text("SELECT id FROM users WHERE id = :user FOR NO KEY UPDATE")
_OWNED = text("SELECT count(*) FROM members WHERE user_id = :user AND role = 'owner'")


async def create(
    database: Database,
    principal: Principal,
    name: str,
    *,
    limit: int,
    before_commit: Callable[[AsyncSession, Space], Awaitable[None]],
) -> Space:
    """Make a team's space, owned by `principal`.

    Raises TooManySpaces for somebody who owns `limit` of them, and Unauthenticated when the
    account is gone.
    """
    async with database.session() as session:
        await _require_room(session, principal.user_id, limit)
        space = Space(name=name, sequence=0, created_at=utcnow())
        session.add(space)
        await session.flush()
        session.add(
            Member(
                space_id=space.id,
                user_id=principal.user_id,
                role=Role.OWNER,
                created_at=space.created_at,
            )
        )
        events.announce(session, space, events.CREATED, principal.actor)
        events.announce(
            session,
            space,
            events.MEMBER_ADDED,
            principal.actor,
            user_id=principal.user_id,
            role=Role.OWNER,
        )
        await before_commit(session, space)
        await session.commit()
    audit.record(AuditEvent.MEMBER_ADDED, user=principal.user_id, space=space.id, role=Role.OWNER)
    return space


async def _require_room(session: AsyncSession, user_id: int, limit: int) -> None:
    """Lock the account, so that two requests at once are counted one after the other."""
    if await session.scalar(_LOCK_USER, {"user": user_id}) is None:
        raise Unauthenticated("The account is gone.")
    if (await session.scalar(_OWNED, {"user": user_id}) or 0) >= limit:
        raise TooManySpaces(f"You own {limit} spaces; delete one first.")


async def rename(
    database: Database,
    principal: Principal,
    space_id: int,
    name: str | None,
    expected: Expected,
) -> Space:
    """Give a team's space another name; None leaves it. No event when nothing changes.

    Raises NotFound, NotAllowed, PersonalSpace and PreconditionFailed.
    """
    async with database.session() as session:
        space = await _expected(session, principal, space_id, expected)
        if name is not None and name != space.name:
            space.name = name
            events.announce(session, space, events.UPDATED, principal.actor)
            await session.commit()
    return space


async def delete(
    database: Database,
    principal: Principal,
    space_id: int,
    forget: Sequence[Forget],
    expected: Expected,
) -> Sequence[int]:
    """Delete a team's space with everything in it; the users who were its members.

    Raises NotFound, NotAllowed, PersonalSpace and PreconditionFailed.
    """
    async with database.session() as session:
        space = await _expected(session, principal, space_id, expected, whole=True)
        people = await rows.members_of(session, space_id)
        await allowance.forget(session, space_id)
        await remove(session, space, forget, principal.actor)
        await session.commit()
    audit.record(AuditEvent.SPACE_DELETED, space=space_id)
    return people


async def remove(
    session: AsyncSession, space: Space, forget: Sequence[Forget], actor: str
) -> None:
    """Delete a space that is locked whole, in the caller's transaction, with all it holds.

    Its own event comes after those of its things. Members, keys and invitations go by their
    foreign keys.
    """
    for each in forget:
        await each(session, space.id)
    events.announce(session, space, events.DELETED, actor)
    await session.flush()
    await session.execute(delete_from(Space).where(Space.id == space.id))


async def _expected(
    session: AsyncSession,
    principal: Principal,
    space_id: int,
    expected: Expected,
    *,
    whole: bool = False,
) -> Space:
    space = await rows.hold_managed(session, principal, space_id, whole=whole)
    if not expected(str(space.sequence)):
        raise PreconditionFailed("The space has changed since this entity tag.")
    return space
