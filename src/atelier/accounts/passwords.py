"""New passwords: by somebody who knows the present one, or by a one-time link."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.accounts import credentials, links, sessions
from atelier.accounts.errors import DeadLink, WrongPassword
from atelier.accounts.guessable import refuse_guessable
from atelier.accounts.models import User
from atelier.auth import Passwords, Principal
from atelier.database import Database
from atelier.http.ratelimit import Kind, Limits
from atelier.observe import audit
from atelier.observe.audit import AuditEvent

Ended = Callable[[int], Awaitable[None]]


async def change(
    database: Database,
    passwords: Passwords,
    limits: Limits,
    ended: Ended,
    principal: Principal,
    *,
    current: str,
    new: str,
    client: str,
) -> None:
    """Set a new password. Every other session ends, and `ended` is told whose.

    Raises WrongPassword, also when another change was faster, and Invalid for one that is guessed
    at once.
    """
    user = await credentials.confirm(
        database,
        passwords,
        limits,
        user_id=principal.user_id,
        password=current,
        client=client,
    )
    refuse_guessable(new, user.email, "new")
    hashed = await passwords.hash(new, client)
    async with database.session() as session:
        if not await _replace(session, user.id, hashed, instead=user.password_hash):
            raise WrongPassword
        await links.drop(session, user.id)
        await sessions.end_all(session, user.id, but=principal.session_id)
        await session.commit()
    await ended(user.id)
    audit.record(AuditEvent.PASSWORD_CHANGED)


async def reset(
    database: Database,
    passwords: Passwords,
    limits: Limits,
    ended: Ended,
    *,
    token: str,
    password: str,
    client: str,
) -> None:
    """Set a new password by a link. Every session of its user ends, and `ended` is told whose.

    Raises DeadLink before anything is hashed, and Invalid for a password that is guessed at once,
    which does not use the link up.
    """
    async with limits.attempt(Kind.RESET, client=client):
        async with database.session() as session:
            link = await links.find(session, links.RESET, token)
            user = await session.get(User, link.user_id)
        if user is None:
            raise DeadLink
    refuse_guessable(password, user.email, "password")
    hashed = await passwords.hash(password, client)
    async with database.session() as session:
        if not await _replace(session, user.id, hashed):
            raise DeadLink
        await links.use(session, link)
        await links.drop(session, user.id)
        await sessions.end_all(session, user.id)
        await session.commit()
    await ended(user.id)
    audit.record(AuditEvent.PASSWORD_RESET, user=user.id)


async def _replace(
    session: AsyncSession, user_id: int, hashed: str, instead: str | None = None
) -> bool:
    """Store a hash; False when there is no such user, or their hash is not `instead`."""
    which = [User.id == user_id]
    if instead is not None:
        which.append(User.password_hash == instead)
    # First of all, and so locked: a sign-in with the old password waits, and then finds another.
    replaced = await session.scalar(
        update(User).where(*which).values(password_hash=hashed).returning(User.id)
    )
    return replaced is not None
