"""What the operator does about accounts, from the command line: whoever has the database may.

One use case, one transaction. Knows no terminal.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.accounts import links, sessions
from atelier.accounts.account import other_administrator
from atelier.accounts.errors import AddressTaken
from atelier.accounts.models import User
from atelier.accounts.registration import hold_administrators
from atelier.accounts.schemas import address, folded
from atelier.database import Database
from atelier.errors import Conflict, Invalid, NotFound
from atelier.events.messages import utcnow
from atelier.observe import audit
from atelier.observe.audit import AuditEvent

PAGE = 1_000  # users read at once
OPERATOR = "operator"  # in the audit log: whoever has the database
_PAGE = f"""
    SELECT id, email, name, administrator, disabled_at, created_at,
           (SELECT max(used_at) FROM refresh_families WHERE user_id = users.id) AS used_at
    FROM users WHERE id > $1 ORDER BY id LIMIT {PAGE}
"""
_END_ALL = """
    WITH ended AS (
        UPDATE refresh_families SET revoked_at = now() WHERE revoked_at IS NULL RETURNING 1
    )
    SELECT count(*) FROM ended
"""


class Listed(NamedTuple):
    """A user as the operator sees them; `used_at`: of their sessions, None when there is none."""

    id: int
    email: str
    name: str | None
    administrator: bool
    disabled_at: datetime | None
    created_at: datetime
    used_at: datetime | None


async def listed(database: Database) -> AsyncIterator[Listed]:
    """Every user, the oldest first; memory stays flat."""
    last = 0
    while rows := await database.fetch(_PAGE, last):
        for row in rows:
            yield Listed(*row.values())
        last = rows[-1]["id"]


async def invite(database: Database, email: str | None) -> str:
    """The token of an invitation: for this address, or for whoever has it.

    Raises AddressTaken, and Invalid for what is no address.
    """
    if email is not None:
        try:
            email = address(email)
        except ValueError as error:
            raise Invalid(f"{email} is no address: {error}") from None
    async with database.session() as session:
        if email is not None and await _by_address(session, email):
            raise AddressTaken(f"{email} has an account.")
        token = await links.make(session, links.INVITE, email=email)
        await session.commit()
    audit.record(AuditEvent.ACCOUNT_INVITED, address=email, by=OPERATOR)
    return token


async def reset(database: Database, email: str) -> str:
    """The token of a link by which the user sets a new password. Raises NotFound."""
    async with database.session() as session:
        user = await _locked(session, email)
        token = await links.make(session, links.RESET, user_id=user.id)
        await session.commit()
    audit.record(AuditEvent.RESET_LINK_MADE, user=user.id, by=OPERATOR)
    return token


async def disable(database: Database, email: str) -> User:
    """End every session of a user, who cannot sign in from now on.

    Raises NotFound, and Conflict for the last administrator.
    """
    async with database.session() as session:
        user = await _locked(session, email)
        await _keep_an_administrator(session, user)
        user.disabled_at = user.disabled_at or utcnow()
        await session.flush()
        await links.drop(session, user.id)
        await sessions.end_all(session, user.id)
        await session.commit()
    audit.record(AuditEvent.ACCOUNT_DISABLED, user=user.id, by=OPERATOR)
    return user


async def enable(database: Database, email: str) -> User:
    """Let a user sign in again. Raises NotFound."""
    async with database.session() as session:
        user = await _locked(session, email)
        user.disabled_at = None
        await session.commit()
    audit.record(AuditEvent.ACCOUNT_ENABLED, user=user.id, by=OPERATOR)
    return user


async def set_administrator(database: Database, email: str, *, whether: bool) -> User:
    """Make a user an administrator, or no longer one.

    Raises NotFound, and Conflict for the last administrator.
    """
    async with database.session() as session:
        user = await _locked(session, email)
        if not whether:
            await _keep_an_administrator(session, user)
        user.administrator = whether
        await session.commit()
    role = "administrator" if whether else "user"
    audit.record(AuditEvent.ROLE_CHANGED, user=user.id, role=role, by=OPERATOR)
    return user


async def sign_out(database: Database, email: str) -> User:
    """End every session of a user. Raises NotFound."""
    async with database.session() as session:
        user = await _locked(session, email)
        await sessions.end_all(session, user.id)
        await session.commit()
    audit.record(AuditEvent.SESSION_ENDED, user=user.id, by=OPERATOR)
    return user


async def sign_out_all(database: Database) -> int:
    """End every session of everybody; how many there were."""
    row = await database.fetchrow(_END_ALL)
    count = int(row["count"]) if row else 0
    audit.record(AuditEvent.SESSION_ENDED, count=count, by=OPERATOR)
    return count


async def _by_address(session: AsyncSession, email: str) -> User | None:
    user: User | None = await session.scalar(
        select(User).where(User.email_folded == folded(email))
    )
    return user


async def _locked(session: AsyncSession, email: str) -> User:
    """The user, locked: a sign-in waits, and then finds them as they will be."""
    user: User | None = await session.scalar(
        select(User).where(User.email_folded == folded(email)).with_for_update(key_share=True)
    )
    if user is None:
        raise NotFound(f"There is no account with the address {email}.")
    return user


async def _keep_an_administrator(session: AsyncSession, user: User) -> None:
    if not user.administrator or user.disabled_at is not None:
        return
    await hold_administrators(session)
    if not await other_administrator(session, user.id):
        raise Conflict(f"Make somebody else an administrator first: {user.email} is the last one.")
