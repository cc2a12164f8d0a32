"""Events about a team's space, its members and invitations, all counted by the space's row."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from atelier.events import outbox
from atelier.spaces_table import Space

CREATED, UPDATED, DELETED = "space.created", "space.updated", "space.deleted"
MEMBER_ADDED, MEMBER_CHANGED, MEMBER_REMOVED = "member.added", "member.changed", "member.removed"
INVITATION_CREATED, INVITATION_ACCEPTED = "invitation.created", "invitation.accepted"


def subject(space_id: int) -> str:
    """The subject of a space's events."""
    return f"spaces/{space_id}"


def announce(
    session: AsyncSession,
    space: Space,
    kind: str,
    actor: str,
    **facts: object,
) -> None:
    """Write an event of a space that the caller has locked; `actor` is who did it."""
    space.sequence += 1
    data = {"id": space.id, "space_id": space.id, "name": space.name} | facts
    outbox.record(
        session, kind, subject(space.id), space.sequence, data, space_id=space.id, actor=actor
    )
