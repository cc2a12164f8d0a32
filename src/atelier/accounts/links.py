"""One-time links: made by an operator or an owner, kept as a digest, used once and for a time.

A link's token has 256 random bits, so a plain digest is enough; commands that have no secret can
make it.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.accounts.errors import DeadLink
from atelier.accounts.models import AccountLink
from atelier.accounts.schemas import folded
from atelier.events.messages import utcnow

RESET, INVITE = "reset", "invite"
LIVES = {RESET: timedelta(hours=1), INVITE: timedelta(days=7)}
TOKEN_BYTES = 32
INVITATION_PAGE = "/invitation"  # of the console, which reads the token from the fragment


async def make(
    session: AsyncSession, kind: str, *, user_id: int | None = None, email: str | None = None
) -> str:
    """Add a link of this kind; its token, which is nowhere else. A user has one link to reset."""
    if user_id is not None:
        await drop(session, user_id)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    session.add(new(kind, token, user_id=user_id, email=email))
    return token


def new(kind: str, token: str, **about: object) -> AccountLink:
    """A link of this kind with a token that nobody can guess."""
    return AccountLink(
        kind=kind,
        token_sha256=_digest(token),
        created_at=utcnow(),
        expires_at=func.clock_timestamp() + LIVES[kind],
        **about,
    )


async def find(session: AsyncSession, kind: str, token: str) -> AccountLink:
    """The link of a token, if it can be used. Raises DeadLink."""
    link: AccountLink | None = await session.scalar(
        select(AccountLink).where(
            AccountLink.token_sha256 == _digest(token),
            AccountLink.kind == kind,
            AccountLink.used_at.is_(None),
            AccountLink.expires_at > func.clock_timestamp(),
        )
    )
    if link is None:
        raise DeadLink
    return link


async def find_invitation(session: AsyncSession, token: str, email: str) -> AccountLink:
    """The invitation of a token, if this address may use it. Raises DeadLink."""
    link = await find(session, INVITE, token)
    if link.email is not None and folded(link.email) != folded(email):
        raise DeadLink
    return link


async def use(session: AsyncSession, link: AccountLink) -> None:
    """Use a link up, within the caller's transaction; of two at once one may. Raises DeadLink."""
    used = await session.scalar(
        update(AccountLink)
        .where(AccountLink.id == link.id, AccountLink.used_at.is_(None))
        .values(used_at=func.clock_timestamp())
        .returning(AccountLink.id)
    )
    if used is None:
        raise DeadLink


async def drop(session: AsyncSession, user_id: int) -> None:
    """Delete a user's links: a new one replaces them, as does a new password."""
    await session.execute(delete(AccountLink).where(AccountLink.user_id == user_id))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()
