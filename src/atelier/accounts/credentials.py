"""Proof of who somebody is: address and password, or the password of somebody signed in.

Guesses are counted and limited, and cost the same whether or not there is such a user.
"""

from __future__ import annotations

from sqlalchemy import select

from atelier.accounts.errors import WrongCredentials, WrongPassword, gone
from atelier.accounts.models import User
from atelier.accounts.schemas import address, folded
from atelier.auth import Passwords, Tokens
from atelier.database import Database
from atelier.http.ratelimit import Kind, Limits
from atelier.observe import audit
from atelier.observe.audit import AuditEvent


async def identify(
    database: Database,
    tokens: Tokens,
    passwords: Passwords,
    limits: Limits,
    *,
    username: str,
    password: str,
    client: str,
) -> User:
    """The user with this address and password.

    An unknown user and one who is disabled cost the same work as a wrong password, and get the
    same answer. Raises WrongCredentials, and TooManyRequests after too many failures of this
    address from this client network, or too many attempts of the network.
    """
    email = _folded_or_none(username)
    hidden = audit.hidden(tokens.digest, email or username)
    async with limits.attempt(
        Kind.SIGN_IN, client=client, account=email or username, hidden=hidden
    ):
        user = await _by_email(database, email)
        right = await passwords.verify(user.password_hash if user else None, password, client)
        if user is None or not right or user.disabled_at is not None:
            audit.record(AuditEvent.SIGN_IN_FAILED, user=user.id if user else None, address=hidden)
            raise WrongCredentials
    return user


async def confirm(
    database: Database,
    passwords: Passwords,
    limits: Limits,
    *,
    user_id: int,
    password: str,
    client: str,
) -> User:
    """The user, whose password this is.

    Limited as signing in is, together with it. Raises WrongPassword, TooManyRequests, and
    Unauthenticated when the account is gone.
    """
    async with database.session() as session:
        user = await session.get(User, user_id)
    if user is None:
        raise gone()
    async with limits.attempt(Kind.CHANGE, client=client, account=user.email_folded):
        if not await passwords.verify(user.password_hash, password, client):
            audit.record(AuditEvent.SIGN_IN_FAILED, user=user.id)
            raise WrongPassword
    return user


async def renewed(passwords: Passwords, user: User, password: str, client: str) -> str:
    """The hash to keep of a password that was right: a new one when the parameters changed."""
    if passwords.outdated(user.password_hash):
        return await passwords.hash(password, client)
    return user.password_hash


def _folded_or_none(username: str) -> str | None:
    """The folded address, or None for a text that cannot be anyone's."""
    try:
        return folded(address(username))
    except ValueError:
        return None


async def _by_email(database: Database, email: str | None) -> User | None:
    if email is None:
        return None
    async with database.session() as session:
        user: User | None = await session.scalar(select(User).where(User.email_folded == email))
        return user
