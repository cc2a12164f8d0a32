"""The rows of a space and its members, locked in one order: spaces by id, then their people.

Whoever changes members or invitations holds the space's row, so two such changes take turns. The
lock is not one that uploads wait for; deleting a space takes that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import delete, exists, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.auth import Principal, Right, Role, require
from atelier.errors import NotFound
from atelier.spaces.errors import NO_SPACE, LastOwner, PersonalSpace
from atelier.spaces.models import Member
from atelier.spaces_table import Space

# What lets in somebody who has lost their place: their keys of this space, and the links by which
# they could come back.
_KEYS = text("DELETE FROM api_keys WHERE space_id = :space AND created_by = :user")
_LINKS = text("""
    DELETE FROM account_links
    WHERE space_id = :space AND created_by = :user AND used_at IS NULL
""")


async def hold(session: AsyncSession, space_id: int, *, whole: bool = False) -> Space | None:
    """Lock a space, `whole` against new things in it too; None if it is gone."""
    space: Space | None = await session.scalar(
        select(Space).where(Space.id == space_id).with_for_update(key_share=not whole)
    )
    return space


async def hold_managed(
    session: AsyncSession, principal: Principal, space_id: int, *, whole: bool = False
) -> Space:
    """Lock a team's space that `principal` manages at this moment.

    The principal may be remembered from before a change: the row under the lock has the last word.
    Raises NotFound, NotAllowed, and PersonalSpace for one's own.
    """
    require(principal, space_id, Right.MANAGE, NO_SPACE)
    space = await hold(session, space_id, whole=whole)
    if space is None:
        raise NotFound(NO_SPACE)
    if space.user_id is not None:
        raise PersonalSpace("One's own space has no other members, and goes with the account.")
    role = await role_of(session, space_id, principal.user_id)
    now = replace(principal, roles={} if role is None else {space_id: role})
    require(now, space_id, Right.MANAGE, NO_SPACE)
    return space


async def role_of(session: AsyncSession, space_id: int, user_id: int) -> Role | None:
    """The role of a member of a team's space; None for nobody."""
    query = select(Member.role).where(Member.space_id == space_id, Member.user_id == user_id)
    role: str | None = await session.scalar(query)
    return None if role is None else Role(role)


async def members_of(session: AsyncSession, space_id: int) -> Sequence[int]:
    """The users who are members of a team's space."""
    found = await session.scalars(select(Member.user_id).where(Member.space_id == space_id))
    return found.all()


async def require_other_owner(session: AsyncSession, space: Space, user_id: int) -> None:
    """Raise LastOwner when nobody but `user_id` owns a space that is locked."""
    others = exists().where(
        Member.space_id == space.id, Member.role == Role.OWNER, Member.user_id != user_id
    )
    if not await session.scalar(select(others)):
        raise LastOwner(f"Nobody else owns the space {space.id}, “{space.name}”.")


async def take_keys(session: AsyncSession, space_id: int, user_id: int) -> None:
    """Delete the API keys that a former member had in a space."""
    await session.execute(_KEYS, {"space": space_id, "user": user_id})


async def take_links(session: AsyncSession, space_id: int, user_id: int) -> None:
    """Delete the open invitations of somebody who no longer owns a space."""
    await session.execute(_LINKS, {"space": space_id, "user": user_id})


async def drop_member(session: AsyncSession, space_id: int, user_id: int) -> None:
    """Delete a membership with what it allowed."""
    await session.execute(
        delete(Member).where(Member.space_id == space_id, Member.user_id == user_id)
    )
    await take_keys(session, space_id, user_id)
    await take_links(session, space_id, user_id)
