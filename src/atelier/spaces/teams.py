"""What spaces do for accounts: invitations open them, and who deletes their account leaves them.

Each function works in the caller's transaction. The shape is `atelier.http.teams.Teams`.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.auth import Principal, Role
from atelier.errors import Unauthenticated
from atelier.events.messages import utcnow
from atelier.spaces import events, rows, service
from atelier.spaces.errors import AlreadyMember
from atelier.spaces.models import Member
from atelier.spaces.service import Forget
from atelier.spaces_table import Space


async def hold(session: AsyncSession, space_id: int) -> bool:
    """Lock a space for who is about to enter it; False if it is gone."""
    return await rows.hold(session, space_id) is not None


async def hold_managed(session: AsyncSession, principal: Principal, space_id: int) -> None:
    """Lock a team's space that `principal` owns.

    Raises NotFound, NotAllowed and PersonalSpace.
    """
    await rows.hold_managed(session, principal, space_id)


async def invited(
    session: AsyncSession, principal: Principal, space_id: int, invitation_id: int, role: Role
) -> None:
    """Announce an invitation to a space that is locked."""
    space = await session.get_one(Space, space_id)
    facts = {"invitation_id": invitation_id, "role": role}
    events.announce(session, space, events.INVITATION_CREATED, principal.actor, **facts)


async def joined(
    session: AsyncSession, space_id: int, user_id: int, invitation_id: int, role: Role
) -> None:
    """Make a user a member of a space that is locked, and announce it.

    Raises AlreadyMember, and Unauthenticated when the account is gone.
    """
    made = insert(Member).values(
        space_id=space_id, user_id=user_id, role=role, created_at=utcnow()
    )
    try:
        added = await session.scalar(made.on_conflict_do_nothing().returning(Member.user_id))
    except IntegrityError as error:
        raise Unauthenticated("The account is gone.") from error
    if added is None:
        raise AlreadyMember("You are a member of this space already.")
    space, actor = await session.get_one(Space, space_id), f"users/{user_id}"
    facts = {"user_id": user_id, "role": role}
    events.announce(
        session,
        space,
        events.INVITATION_ACCEPTED,
        actor,
        invitation_id=invitation_id,
        **facts,
    )
    events.announce(session, space, events.MEMBER_ADDED, actor, **facts)


async def hold_all(session: AsyncSession, user_id: int) -> None:
    """Lock every team's space of a user: before the account, as whoever enters a space does."""
    await _teams(session, user_id)


async def leave(session: AsyncSession, user_id: int, forget: Sequence[Forget]) -> None:
    """Take a user, whose account is locked, out of every team.

    A space in which nobody else is goes with them, emptied by `forget`. Their own space is locked
    too: nothing more is put into it. Raises LastOwner, naming the space, where others would be
    left without an owner.
    """
    await rows.hold(session, user_id, whole=True)
    alone, others = [], []
    for space in await _teams(session, user_id):
        role = await rows.role_of(session, space.id, user_id)
        if role is None:  # removed while we waited for the lock
            continue
        if len(await rows.members_of(session, space.id)) == 1:
            alone.append(space)
            continue
        if role is Role.OWNER:
            await rows.require_other_owner(session, space, user_id)
        others.append(space)
    actor = f"users/{user_id}"
    for space in others:
        await rows.drop_member(session, space.id, user_id)
        events.announce(session, space, events.MEMBER_REMOVED, actor, user_id=user_id)
    for space in alone:
        await rows.hold(session, space.id, whole=True)
        await service.remove(session, space, forget, actor)


async def _teams(session: AsyncSession, user_id: int) -> Sequence[Space]:
    """A user's teams, locked in the order of their ids."""
    mine = select(Member.space_id).where(Member.user_id == user_id)
    found = await session.scalars(
        select(Space).where(Space.id.in_(mine)).order_by(Space.id).with_for_update(key_share=True)
    )
    return found.all()
