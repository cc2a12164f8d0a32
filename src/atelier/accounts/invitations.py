"""Invitations to a team's space: one-time links that an owner hands out, and using them.

One use case, one transaction. Knows no HTTP; what a space is, `Teams` knows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.accounts import links
from atelier.accounts.errors import DeadLink, TooManyInvitations, gone
from atelier.accounts.models import AccountLink, User
from atelier.accounts.registration import enter_space, hold_space
from atelier.accounts.schemas import folded
from atelier.auth import Principal, Right, Role, require, spaces_with
from atelier.database import Database
from atelier.errors import NotFound
from atelier.http.teams import Teams
from atelier.observe import audit
from atelier.observe.audit import AuditEvent

INVITATIONS_LIMIT = 100  # open ones of a space
NO_INVITATION = "There is no such invitation."
_OPEN = (
    AccountLink.kind == links.INVITE,
    AccountLink.used_at.is_(None),
    AccountLink.expires_at > func.clock_timestamp(),
)

Keep = Callable[[AsyncSession, AccountLink], Awaitable[None]]


async def create(
    database: Database,
    teams: Teams,
    principal: Principal,
    *,
    space_id: int,
    role: Role,
    email: str | None,
    token: str,
    before_commit: Keep,
) -> AccountLink:
    """Keep an invitation, of whose token only the digest is kept.

    Raises NotFound, NotAllowed, Conflict for one's own space, and TooManyInvitations.
    """
    async with database.session() as session:
        await teams.hold_managed(session, principal, space_id)
        count = select(func.count()).where(AccountLink.space_id == space_id, *_OPEN)
        if (await session.scalar(count) or 0) >= INVITATIONS_LIMIT:
            raise TooManyInvitations(
                f"The space has {INVITATIONS_LIMIT} open invitations; delete one first."
            )
        made = links.new(
            links.INVITE,
            token,
            email=email,
            space_id=space_id,
            role=role,
            created_by=principal.user_id,
        )
        session.add(made)
        await session.flush()
        await session.refresh(made, ["expires_at"])
        await teams.invited(session, principal, space_id, made.id, role)
        await before_commit(session, made)
        await session.commit()
    audit.record(AuditEvent.MEMBER_INVITED, space=space_id, role=role, address=email)
    return made


async def page(
    database: Database, principal: Principal, *, before: int | None, limit: int
) -> Sequence[AccountLink]:
    """The open invitations to the spaces that `principal` owns, newest first."""
    owned = spaces_with(principal, Right.MANAGE)
    query = select(AccountLink).where(AccountLink.space_id.in_(owned), *_OPEN)
    if before is not None:
        query = query.where(AccountLink.id < before)
    async with database.session() as session:
        found = await session.scalars(query.order_by(AccountLink.id.desc()).limit(limit))
        return found.all()


async def revoke(database: Database, principal: Principal, invitation_id: int) -> None:
    """Delete an open invitation. Raises NotFound, and NotAllowed for a member of its space."""
    async with database.session() as session:
        link: AccountLink | None = await session.scalar(
            select(AccountLink).where(AccountLink.id == invitation_id, *_OPEN)
        )
        if link is None or link.space_id is None:
            raise NotFound(NO_INVITATION)
        require(principal, link.space_id, Right.MANAGE, NO_INVITATION)
        gone_id = await session.scalar(
            delete(AccountLink)
            .where(AccountLink.id == invitation_id, AccountLink.used_at.is_(None))
            .returning(AccountLink.id)
        )
        await session.commit()
    if gone_id is None:
        raise NotFound(NO_INVITATION)


async def accept(
    database: Database, teams: Teams, user_id: int, token: str, *, before_commit: Keep
) -> AccountLink:
    """Make a user who has an account a member of the space of an invitation.

    Of two at once one may. Raises DeadLink, also for an invitation that names another's address,
    Conflict for who is a member already, and Unauthenticated when the account is gone.
    """
    async with database.session() as session:
        link = await links.find(session, links.INVITE, token)
        if link.space_id is None:
            raise DeadLink("This invitation makes an account; you have one.")
        await hold_space(session, teams, link)
        email = await session.scalar(select(User.email).where(User.id == user_id))
        if email is None:
            raise gone()
        if link.email is not None and folded(link.email) != folded(email):
            raise DeadLink
        await links.use(session, link)
        await enter_space(session, teams, link, user_id)
        await before_commit(session, link)
        await session.commit()
    audit.record(AuditEvent.MEMBER_ADDED, user=user_id, space=link.space_id, role=link.role)
    return link


async def target(database: Database, token: str) -> AccountLink:
    """The open invitation of a token that opens a space. Raises DeadLink."""
    async with database.session() as session:
        link = await links.find(session, links.INVITE, token)
    if link.space_id is None:
        raise DeadLink
    return link
