"""Who may make an account, and making it.

The first account is the administrator, however many ask at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sqlalchemy import exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from atelier import locks
from atelier.accounts import events, links
from atelier.accounts.errors import AddressTaken, DeadLink, RegistrationClosed
from atelier.accounts.guessable import refuse_guessable
from atelier.accounts.models import AccountLink, User
from atelier.accounts.schemas import folded
from atelier.auth import Passwords, Role
from atelier.database import Database
from atelier.events import outbox
from atelier.events.messages import utcnow
from atelier.http.ratelimit import Kind, Limits
from atelier.http.teams import Teams
from atelier.observe import audit
from atelier.observe.audit import AuditEvent
from atelier.settings import Admission
from atelier.wire.idempotency import scope

REGISTRATIONS = scope(None, "POST /api/users")
ACCEPTANCES = scope(None, "POST /api/invitations/accept")


async def register(
    database: Database,
    passwords: Passwords,
    limits: Limits,
    policy: Admission,
    *,
    email: str,
    password: str,
    invitation: str | None,
    teams: Teams | None,
    client: str,
    before_commit: Callable[[AsyncSession, User], Awaitable[None]],
) -> User:
    """Make an account. `email` is in its normal form; an invitation may open a space too.

    Raises RegistrationClosed, DeadLink, TooManyRequests and Invalid before anything is hashed, and
    AddressTaken.
    """
    async with limits.attempt(Kind.REGISTRATION, client=client):
        async with database.session() as session:
            asked = await _admit(session, policy, email, invitation)
        refuse_guessable(password, email, "password")
        hashed = await passwords.hash(password, client)
    async with database.session() as session:
        if asked is not None:
            await hold_space(session, teams, asked)
        await hold_administrators(session)
        link = await _admit(session, policy, email, invitation)
        if link is not None:
            await links.use(session, link)
        made = await _insert(session, email, hashed)
        subject, state = events.subject(made.id), events.state(made)
        # Nobody is signed in yet: who registers is the one who acts.
        outbox.record(session, events.CREATED, subject, made.sequence, state, actor=subject)
        if link is not None:
            await enter_space(session, teams, link, made.id)
        await before_commit(session, made)
        await session.commit()
    audit.record(AuditEvent.REGISTERED, user=made.id)
    if link is not None and link.space_id is not None:
        audit.record(AuditEvent.MEMBER_ADDED, user=made.id, space=link.space_id, role=link.role)
    return made


async def hold_space(session: AsyncSession, teams: Teams | None, link: AccountLink) -> None:
    """Lock the space of an invitation, if it opens one. Raises DeadLink when it is gone."""
    if link.space_id is not None and not (
        teams is not None and await teams.hold(session, link.space_id)
    ):
        raise DeadLink


async def enter_space(
    session: AsyncSession, teams: Teams | None, link: AccountLink, user_id: int
) -> None:
    """Make a user a member of the locked space that an invitation opens, if it opens one."""
    if teams is not None and link.space_id is not None and link.role is not None:
        await teams.joined(session, link.space_id, user_id, link.id, Role(link.role))


async def hold_administrators(session: AsyncSession) -> None:
    """Let nobody else make the first account, or take an administrator away, until the commit."""
    await session.execute(select(func.pg_advisory_xact_lock(locks.ADMINISTRATORS)))


async def _admit(
    session: AsyncSession, policy: Admission, email: str, invitation: str | None
) -> AccountLink | None:
    """The invitation to be used, if there is one. Raises RegistrationClosed and DeadLink."""
    if policy == "closed":
        raise RegistrationClosed("No accounts are made here.")
    if invitation is not None:
        return await links.find_invitation(session, invitation, email)
    if policy == "invited" and await _somebody_is_there(session):
        raise RegistrationClosed("Ask the operator for an invitation.")
    return None


async def _somebody_is_there(session: AsyncSession) -> bool:
    return bool(await session.scalar(select(exists(select(User.id)))))


async def _insert(session: AsyncSession, email: str, hashed: str) -> User:
    made: User | None = await session.scalar(
        insert(User)
        .values(
            email=email,
            email_folded=folded(email),
            password_hash=hashed,
            sequence=1,
            created_at=utcnow(),
            administrator=~exists(select(User.id)),
        )
        .on_conflict_do_nothing(index_elements=[User.email_folded])
        .returning(User)
    )
    if made is None:
        raise AddressTaken
    return made
