"""The use cases of accounts: register, sign in, stay signed in, sign out, leave.

One use case, one transaction, an explicit commit. Knows no HTTP and no other slice: functions of
the caller delete a leaving user's other data.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.accounts import events
from atelier.accounts.models import RefreshFamily, User
from atelier.accounts.schemas import Account, Pair, address, folded
from atelier.auth import Passwords, Principal, Tokens
from atelier.database import Database
from atelier.errors import Conflict, PreconditionFailed, TooManyRequests, Unauthenticated
from atelier.events import outbox
from atelier.events.messages import utcnow
from atelier.http import allowance, idempotency
from atelier.http.ratelimit import LoginLimit, login_key
from atelier.observe import audit
from atelier.observe.audit import AuditEvent
from atelier.observe.metrics import REFRESH_REUSE
from atelier.wire.idempotency import scope

Forget = Callable[[AsyncSession, int], Awaitable[None]]
Revoked = Callable[[str], Awaitable[None]]

SECRET_BYTES = 32  # of a refresh token
REGISTRATIONS = scope(None, "POST /api/users")
_ACCOUNT = "SELECT id, email, tasks_created, created_at FROM users WHERE id = $1"


class WrongCredentials(Unauthenticated):
    """The address or the password is wrong."""

    slug = "wrong-credentials"


class DeadRefreshToken(Unauthenticated):
    """This refresh token is not valid, or not any more; sign in again."""

    slug = "dead-refresh-token"


class AddressTaken(Conflict):
    """This address has an account."""

    slug = "address-taken"


async def register(
    database: Database,
    passwords: Passwords,
    *,
    email: str,
    password: str,
    before_commit: Callable[[AsyncSession, User], Awaitable[None]],
) -> User:
    """Make an account. `email` is in its normal form. Raises AddressTaken."""
    user = {
        "email": email,
        "email_folded": folded(email),
        "password_hash": await passwords.hash(password),
    }
    async with database.session() as session:
        made: User | None = await session.scalar(
            insert(User)
            .values(user | {"sequence": 1, "created_at": utcnow()})
            .on_conflict_do_nothing(index_elements=[User.email_folded])
            .returning(User)
        )
        if made is None:
            raise AddressTaken
        outbox.record(
            session, events.CREATED, events.subject(made.id), made.sequence, events.state(made)
        )
        await before_commit(session, made)
        await session.commit()
    audit.record(AuditEvent.REGISTERED, user=made.id)
    return made


async def login(
    database: Database,
    tokens: Tokens,
    passwords: Passwords,
    limit: LoginLimit,
    *,
    username: str,
    password: str,
    client: str,
    days: int,
) -> Pair:
    """A pair of tokens of a new family that lives `days`.

    An unknown user costs the same work as a wrong password. Raises WrongCredentials, and
    TooManyRequests after too many failures of this address from this client.
    """
    email = _folded_or_none(username)
    key = login_key(email or username, client)
    hidden = audit.hidden(tokens.digest, email or username)
    async with limit.turn(key):
        try:
            await limit.check(key)
        except TooManyRequests:
            audit.record(AuditEvent.SIGN_IN_THROTTLED, address=hidden)
            raise
        user = await _by_email(database, email)
        if (
            not await passwords.verify(user.password_hash if user else None, password)
            or user is None
        ):
            await limit.failed(key)
            audit.record(AuditEvent.SIGN_IN_FAILED, user=user.id if user else None, address=hidden)
            raise WrongCredentials
    renewed = (
        await passwords.hash(password)
        if passwords.outdated(user.password_hash)
        else user.password_hash
    )
    return await _open_family(database, tokens, user, renewed, days)


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


async def _open_family(
    database: Database, tokens: Tokens, user: User, password_hash: str, days: int
) -> Pair:
    family, secret, now = uuid.uuid4(), _secret(), utcnow()
    async with database.session() as session:
        same = select(User).where(User.id == user.id, User.password_hash == user.password_hash)
        present = await session.scalar(same.with_for_update(key_share=True))
        if present is None:
            raise WrongCredentials
        present.password_hash = password_hash
        session.add(
            RefreshFamily(
                id=family,
                user_id=user.id,
                token_sha256=_digest(secret),
                created_at=now,
                expires_at=func.clock_timestamp() + timedelta(days=days),
            )
        )
        await session.commit()
    audit.record(AuditEvent.SIGNED_IN, user=user.id, session=family)
    return _pair(tokens, user.id, family, secret)


async def refresh(
    database: Database, tokens: Tokens, revoked: Revoked, *, refresh_token: str, days: int
) -> Pair:
    """The next pair of a family; the given token ends with it. Raises DeadRefreshToken.

    Of several requests with one token one wins. A token that was already exchanged, even at the
    same moment, comes from a thief or from the robbed: the family ends, `revoked` is told, and its
    owner has to sign in again.
    """
    family, old = _parsed(refresh_token)
    new, now = _secret(), utcnow()
    alive = (RefreshFamily.id == family, RefreshFamily.revoked_at.is_(None))
    current = (
        *alive,
        RefreshFamily.token_sha256 == _digest(old),
        RefreshFamily.expires_at > func.clock_timestamp(),
    )
    rotated = {
        "token_sha256": _digest(new),
        "expires_at": func.clock_timestamp() + timedelta(days=days),
    }
    async with database.session() as session:
        # One UPDATE decides between concurrent requests: the loser finds another digest.
        user_id = await session.scalar(
            update(RefreshFamily).where(*current).values(rotated).returning(RefreshFamily.user_id)
        )
        if user_id is None:
            ended = await session.execute(
                update(RefreshFamily)
                .where(*alive)
                .values(revoked_at=now)
                .returning(RefreshFamily.user_id, RefreshFamily.token_sha256)
            )
        await session.commit()
    if user_id is None:
        _report_reuse(family, _digest(old), ended.first())
        await revoked(str(family))
        raise DeadRefreshToken
    return _pair(tokens, user_id, family, new)


def _report_reuse(family: uuid.UUID, presented: bytes, ended: Any) -> None:
    """Report a family that has ended by a token that was not its last: it has been exchanged.

    A token that is the last has only expired.
    """
    if ended is not None and ended.token_sha256 != presented:
        REFRESH_REUSE.inc()
        audit.record(AuditEvent.REFRESH_REUSED, user=ended.user_id, session=family)


async def logout(database: Database, revoked: Revoked, principal: Principal) -> None:
    """End the family of the principal's token, and tell `revoked`."""
    mine = (
        RefreshFamily.id == uuid.UUID(principal.session_id),
        RefreshFamily.user_id == principal.user_id,
    )
    async with database.session() as session:
        await session.execute(
            update(RefreshFamily)
            .where(*mine, RefreshFamily.revoked_at.is_(None))
            .values(revoked_at=utcnow())
        )
        await session.commit()
    await revoked(principal.session_id)
    audit.record(AuditEvent.SIGNED_OUT, user=principal.user_id, session=principal.session_id)


async def me(database: Database, user_id: int) -> Account:
    """The account. Raises Unauthenticated if it is gone since the token was verified."""
    row = await database.fetchrow(_ACCOUNT, user_id)
    if row is None:
        raise Unauthenticated("The account is gone.")
    return Account(**row)


async def delete_account(
    session: AsyncSession, user_id: int, forget: Sequence[Forget], expected: Callable[[str], bool]
) -> None:
    """Delete a user with everything they own.

    `forget` deletes the data of other slices in the same transaction. `expected` judges the
    present entity tag (If-Match). Raises PreconditionFailed, and Unauthenticated if the user is
    already gone.
    """
    # Locked first: a transaction that adds something for this user waits for this one to end, and
    # then finds no user.
    user = await session.scalar(select(User).where(User.id == user_id).with_for_update())
    if user is None:
        raise Unauthenticated("The account is gone.")
    if not expected(Account.model_validate(user).etag):
        raise PreconditionFailed("The account has changed since this entity tag.")
    for each in (allowance.forget, *forget, idempotency.forget):
        await each(session, user_id)
    await idempotency.forget_answer(
        session, REGISTRATIONS, Account.model_validate(user).first_etag
    )
    outbox.record(
        session, events.DELETED, events.subject(user.id), user.sequence + 1, events.state(user)
    )
    await session.execute(delete(User).where(User.id == user_id))
    await session.commit()
    audit.record(AuditEvent.ACCOUNT_DELETED, user=user_id)


def _secret() -> str:
    return secrets.token_urlsafe(SECRET_BYTES)


def _digest(secret: str) -> bytes:
    """The stored digest of a secret; it has 256 random bits, so a plain digest is enough."""
    return hashlib.sha256(secret.encode()).digest()


def _parsed(refresh_token: str) -> tuple[uuid.UUID, str]:
    """The family and the secret of a refresh token."""
    family, _, secret = refresh_token.partition(".")
    try:
        return uuid.UUID(hex=family), secret
    except ValueError:
        raise DeadRefreshToken from None


def _pair(tokens: Tokens, user_id: int, family: uuid.UUID, secret: str) -> Pair:
    return Pair(
        access_token=tokens.issue(user_id, str(family)),
        expires_in=tokens.access_seconds,
        refresh_token=f"{family.hex}.{secret}",
    )
