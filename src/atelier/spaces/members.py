"""The members of a team's space: another role, and leaving or being removed."""

from __future__ import annotations

from sqlalchemy import update

from atelier.auth import Principal, Role
from atelier.database import Database
from atelier.errors import NotFound
from atelier.observe import audit
from atelier.observe.audit import AuditEvent
from atelier.spaces import events, rows
from atelier.spaces.errors import NO_MEMBER, NO_SPACE, PersonalSpace
from atelier.spaces.models import Member


async def change(
    database: Database, principal: Principal, space_id: int, user_id: int, role: Role
) -> None:
    """Give a member another role.

    Raises NotFound, for who is no member too, NotAllowed, PersonalSpace and LastOwner.
    """
    async with database.session() as session:
        space = await rows.hold_managed(session, principal, space_id)
        before = await rows.role_of(session, space_id, user_id)
        if before is None:
            raise NotFound(NO_MEMBER)
        if before is role:
            return
        if before is Role.OWNER:
            await rows.require_other_owner(session, space, user_id)
            await rows.take_links(session, space_id, user_id)
        await session.execute(
            update(Member)
            .where(Member.space_id == space_id, Member.user_id == user_id)
            .values(role=role)
        )
        facts = {"user_id": user_id, "role": role, "before": before}
        events.announce(session, space, events.MEMBER_CHANGED, principal.actor, **facts)
        await session.commit()
    audit.record(AuditEvent.ROLE_CHANGED, user=user_id, space=space_id, role=role)


async def remove(database: Database, principal: Principal, space_id: int, user_id: int) -> None:
    """End a membership: one's own, or another's in a space that one owns.

    Raises NotFound, for who is no member too, NotAllowed, PersonalSpace and LastOwner.
    """
    async with database.session() as session:
        if user_id == principal.user_id:
            if space_id not in principal.roles:
                raise NotFound(NO_SPACE)
            space = await rows.hold(session, space_id)
        else:
            space = await rows.hold_managed(session, principal, space_id)
        if space is None:
            raise NotFound(NO_SPACE)
        if space.user_id is not None:
            raise PersonalSpace("One does not leave one's own space.")
        role = await rows.role_of(session, space_id, user_id)
        if role is None:
            raise NotFound(NO_SPACE if user_id == principal.user_id else NO_MEMBER)
        if role is Role.OWNER:
            await rows.require_other_owner(session, space, user_id)
        await rows.drop_member(session, space_id, user_id)
        facts = {"user_id": user_id, "role": role}
        events.announce(session, space, events.MEMBER_REMOVED, principal.actor, **facts)
        await session.commit()
    audit.record(AuditEvent.MEMBER_REMOVED, user=user_id, space=space_id)
