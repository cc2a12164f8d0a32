"""Sessions: opened by a sign-in, prolonged by refresh tokens, seen and ended by their user.

One use case, one transaction, an explicit commit. Knows no HTTP. docs/decisions/0110 says why
tokens are derived and their digests keyed.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.accounts import credentials, sealing
from atelier.accounts.errors import DeadRefreshToken, WrongCredentials
from atelier.accounts.models import COOKIE, TOKEN, RefreshFamily, User
from atelier.accounts.schemas import Pair, SessionRecord
from atelier.auth import Passwords, Principal, Tokens, cookie_digest
from atelier.database import Database
from atelier.errors import NotFound
from atelier.events.messages import utcnow
from atelier.http.ratelimit import Limits
from atelier.observe import audit
from atelier.observe.audit import AuditEvent
from atelier.observe.metrics import REFRESH_REUSE

Revoked = Callable[[str], Awaitable[None]]

SECRET_BYTES = 32  # of a refresh token
GRACE = timedelta(seconds=10)  # in which the token before gives the same pair: for two tabs
AGENT_CHARACTERS = 200  # of a User-Agent that is kept


class Client(NamedTuple):
    """Who signs in: the network address, and what the program calls itself."""

    address: str
    agent: str = ""

    @property
    def shown(self) -> str:
        """Both in one line, as a person recognises their session by it."""
        agent = "".join(filter(str.isprintable, self.agent))[:AGENT_CHARACTERS].strip()
        return f"{agent} ({self.address})" if agent else self.address


class Lives(NamedTuple):
    """How long a session lives: without use, and in all."""

    unused: timedelta
    whole: timedelta


class Opened(NamedTuple):
    """A new session and the secret of its first token."""

    family: RefreshFamily
    secret: str


async def sign_in(
    database: Database,
    tokens: Tokens,
    passwords: Passwords,
    limits: Limits,
    *,
    username: str,
    password: str,
    client: Client,
    lives: Lives,
    kind: str = TOKEN,
) -> Opened:
    """A new session of this kind; `pair` makes its tokens, a browser's has its cookie alone.

    Raises WrongCredentials, and TooManyRequests after too many failures of this address from this
    client.
    """
    user = await credentials.identify(
        database,
        tokens,
        passwords,
        limits,
        username=username,
        password=password,
        client=client.address,
    )
    hashed = await credentials.renewed(passwords, user, password, client.address)
    return await open_session(
        database, tokens, user, hashed, client=client, lives=lives, kind=kind
    )


async def open_session(
    database: Database,
    tokens: Tokens,
    user: User,
    password_hash: str,
    *,
    client: Client,
    lives: Lives,
    kind: str,
) -> Opened:
    """Open a session of a user who has just proved who they are.

    Raises WrongCredentials when the password has changed, or the user was disabled, meanwhile.
    """
    secret, began = secrets.token_urlsafe(SECRET_BYTES), utcnow()
    async with database.session() as session:
        same = select(User).where(
            User.id == user.id,
            User.password_hash == user.password_hash,
            User.disabled_at.is_(None),
        )
        # Locked: a change of the password or a disabling waits for this session, then ends it.
        present = await session.scalar(same.with_for_update(key_share=True))
        if present is None:
            raise WrongCredentials
        present.password_hash = password_hash
        now = await _clock(session)
        family = RefreshFamily(
            id=uuid.uuid4(),
            user_id=user.id,
            kind=kind,
            client=client.shown,
            token_sha256=_digest(tokens, kind, secret),
            created_at=began,
            used_at=began,
            issued_at=_issue_time(tokens),
            expires_at=now + min(lives.unused, lives.whole),
            ends_at=now + lives.whole,
        )
        session.add(family)
        await session.commit()
    audit.record(AuditEvent.SIGNED_IN, user=user.id, session=family.id)
    return Opened(family, secret)


async def refresh(
    database: Database, tokens: Tokens, revoked: Revoked, *, refresh_token: str, lives: Lives
) -> Pair:
    """The next pair of a session; the given token ends with it. Raises DeadRefreshToken.

    For `GRACE` the token that was exchanged last gives the same pair again: to another tab, or to
    a client that lost the answer. Any older one comes from a thief or from the robbed: the session
    ends, `revoked` is told, and its owner has to sign in again.
    """
    family_id, secret = _parsed(refresh_token)
    digest, following = keyed(tokens, _plain(secret)), _following(tokens, family_id, secret)
    open_one = (
        RefreshFamily.id == family_id,
        RefreshFamily.kind == TOKEN,
        RefreshFamily.revoked_at.is_(None),
    )
    async with database.session() as session:
        # The lock decides between concurrent requests: the later one finds another digest.
        family = await session.scalar(select(RefreshFamily).where(*open_one).with_for_update())
        if family is None:
            raise DeadRefreshToken
        now, reused = await _clock(session), False
        if _has_ended(family, now):
            family.revoked_at = utcnow()
        elif family.token_sha256 == digest:
            _rotate(family, keyed(tokens, _plain(following)), tokens, now, lives)
        elif not _in_grace(family, digest, now):
            await sealing.require_sealed(session, family)
            family.revoked_at, reused = utcnow(), True
        await session.commit()
    if reused:
        REFRESH_REUSE.inc()
        audit.record(AuditEvent.REFRESH_REUSED, user=family.user_id, session=family_id)
    if family.revoked_at is not None:
        await revoked(str(family_id))
        raise DeadRefreshToken
    return pair(tokens, family, following)


def _rotate(
    family: RefreshFamily, digest: bytes, tokens: Tokens, now: datetime, lives: Lives
) -> None:
    family.previous_sha256, family.token_sha256 = family.token_sha256, digest
    family.rotated_at = family.used_at = now
    family.issued_at = _issue_time(tokens)
    until = now + lives.unused
    family.expires_at = min(until, family.ends_at) if family.ends_at else until


def _has_ended(family: RefreshFamily, now: datetime) -> bool:
    return family.expires_at <= now or (family.ends_at is not None and family.ends_at <= now)


def _in_grace(family: RefreshFamily, digest: bytes, now: datetime) -> bool:
    return (
        family.previous_sha256 == digest
        and family.rotated_at is not None
        and now < family.rotated_at + GRACE
    )


async def sign_out(database: Database, revoked: Revoked, principal: Principal) -> None:
    """End the session of the principal's token, and tell `revoked`."""
    async with database.session() as session:
        await _end(session, _mine(principal, principal.session_id))
        await session.commit()
    await revoked(principal.session_id)
    audit.record(AuditEvent.SIGNED_OUT, user=principal.user_id, session=principal.session_id)


async def end(database: Database, revoked: Revoked, principal: Principal, session_id: str) -> None:
    """End one of the principal's sessions, and tell `revoked`.

    Raises NotFound for what is no open session of theirs.
    """
    try:
        session_id = str(uuid.UUID(session_id))  # others know it in this one form
    except ValueError:
        raise NotFound("There is no such session.") from None
    mine = (*_mine(principal, session_id), *_alive())
    async with database.session() as session:
        if not await _end(session, mine):
            raise NotFound("There is no such session.")
        await session.commit()
    await revoked(session_id)
    audit.record(AuditEvent.SESSION_ENDED, ended=session_id)


async def end_all(session: AsyncSession, user_id: int, but: str | None = None) -> None:
    """End every session of a user, or every other one, within the caller's transaction."""
    theirs = [RefreshFamily.user_id == user_id]
    if but is not None:
        theirs.append(RefreshFamily.id != uuid.UUID(but))
    await _end(session, theirs)


async def index(
    database: Database, principal: Principal, *, before: datetime | None, limit: int
) -> list[SessionRecord]:
    """The open sessions of the principal, newest first, made before a time."""
    asked = select(RefreshFamily).where(RefreshFamily.user_id == principal.user_id, *_alive())
    if before is not None:
        asked = asked.where(RefreshFamily.created_at < before)
    newest = asked.order_by(RefreshFamily.created_at.desc(), RefreshFamily.id).limit(limit)
    async with database.session() as session:
        return [_record(family, principal) for family in await session.scalars(newest)]


def _record(family: RefreshFamily, principal: Principal) -> SessionRecord:
    return SessionRecord(
        id=str(family.id),
        created_at=family.created_at,
        used_at=family.used_at or family.created_at,
        client=family.client,
        current=str(family.id) == principal.session_id,
        expires_at=family.expires_at,
    )


def _alive() -> list[ColumnElement[bool]]:
    now = func.clock_timestamp()
    return [
        RefreshFamily.revoked_at.is_(None),
        RefreshFamily.expires_at > now,
        or_(RefreshFamily.ends_at.is_(None), RefreshFamily.ends_at > now),
    ]


def _mine(principal: Principal, session_id: str) -> list[ColumnElement[bool]]:
    """The condition of one session of the principal."""
    return [
        RefreshFamily.id == uuid.UUID(session_id),
        RefreshFamily.user_id == principal.user_id,
    ]


async def _end(session: AsyncSession, which: Sequence[ColumnElement[bool]]) -> bool:
    ended = await session.scalars(
        update(RefreshFamily)
        .where(*which, RefreshFamily.revoked_at.is_(None))
        .values(revoked_at=utcnow())
        .returning(RefreshFamily.id)
    )
    return bool(ended.all())


async def _clock(session: AsyncSession) -> datetime:
    """The database's time, by which all sessions are judged, whatever host they come to."""
    now: datetime = (await session.scalars(select(func.clock_timestamp()))).one()
    return now


def _issue_time(tokens: Tokens) -> datetime:
    return datetime.fromtimestamp(tokens.now(), UTC)


def _digest(tokens: Tokens, kind: str, secret: str) -> bytes:
    return cookie_digest(tokens, secret) if kind == COOKIE else keyed(tokens, _plain(secret))


def keyed(tokens: Tokens, plain: bytes) -> bytes:
    """The digest of a refresh token that is stored: another secret finds no session by it."""
    return tokens.digest("refresh", plain)


def _plain(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="replace")).digest()


def _following(tokens: Tokens, family_id: uuid.UUID, secret: str) -> str:
    """The secret after this one: known to nobody without ours, and the same whenever asked."""
    made = tokens.digest("next refresh", family_id.bytes + secret.encode(errors="replace"))
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


def _parsed(refresh_token: str) -> tuple[uuid.UUID, str]:
    """The session and the secret of a refresh token."""
    family, _, secret = refresh_token.partition(".")
    try:
        return uuid.UUID(hex=family), secret
    except ValueError:
        raise DeadRefreshToken from None


def pair(tokens: Tokens, family: RefreshFamily, secret: str) -> Pair:
    """The pair of a session whose present token has this secret; equal however often asked."""
    token_id = tokens.digest("access", family.id.bytes + secret.encode())[:16].hex()
    issued = int(family.issued_at.timestamp()) if family.issued_at else None
    return Pair(
        access_token=tokens.issue(
            family.user_id, str(family.id), token_id=token_id, issued=issued
        ),
        expires_in=tokens.access_seconds,
        refresh_token=f"{family.id.hex}.{secret}",
    )
