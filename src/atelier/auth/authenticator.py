"""Finds whose a credential is, and remembers it for a while. Knows no database."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

from atelier.auth.principal import Principal, Right
from atelier.auth.tokens import MAX_TOKEN_CHARACTERS, Claims, Tokens
from atelier.errors import Unauthenticated

REMEMBER_SECONDS = 60  # how long a revocation in another process may go unnoticed here
REMEMBER_CREDENTIALS = 10_000  # about 5 MB: digests, not the credentials themselves
KEY_PREFIX = "atk_"
COOKIE_PURPOSE = "cookie"  # of the keyed digest of a cookie's secret
_SCHEME = "bearer "
_COOKIE_MAX = 200  # characters; ours have 76
_KEY_MAX = 100  # characters; ours have 47

Found = tuple[Principal, float | None]  # and when the credential ends, in Unix seconds


class Lookup(Protocol):
    """Finds whose a credential is at this moment; None if it has ended or never was."""

    async def session(self, claims: Claims) -> Principal | None:
        """The user of an access token whose signature is right."""

    async def cookie(self, family: uuid.UUID, digest: bytes) -> Principal | None:
        """The user of a cookie session; it counts as used now."""

    async def key(self, digest: bytes) -> Found | None:
        """The rights of an API key; it counts as used now."""


class Authenticator:
    """Turns credentials into principals; remembers those it has verified.

    They are remembered for `REMEMBER_SECONDS` at most, under a digest: what a client adds to a
    header takes no memory here. Rights that are `reserved` are withheld from everybody but
    administrators and their keys.
    """

    def __init__(
        self,
        tokens: Tokens,
        lookup: Lookup,
        *,
        reserved: frozenset[Right] = frozenset(),
        capacity: int = REMEMBER_CREDENTIALS,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._tokens, self._lookup = tokens, lookup
        self._reserved = reserved
        self._capacity = capacity
        self._now = now
        self._seen: dict[bytes, tuple[float, Principal]] = {}
        self._drops = 0

    def known(self, authorization: str) -> Principal | None:
        """Return the principal of a recently verified value: no signature check, no await."""
        if authorization[: len(_SCHEME)].lower() != _SCHEME:
            return None
        return self._recall(_digest(authorization[len(_SCHEME) :].strip()))

    def known_cookie(self, cookie: str) -> Principal | None:
        """Return the principal of a recently verified cookie, without an await."""
        return self._recall(_digest(cookie, COOKIE_PURPOSE))

    async def authenticate(self, authorization: str | None, *, fresh: bool = False) -> Principal:
        """Return the principal of an `Authorization` header (or gRPC metadata) value.

        Raises Unauthenticated. `fresh`: nothing that is remembered counts.
        """
        if not authorization:
            raise Unauthenticated("Sign in first.")
        if not fresh and (known := self.known(authorization)):
            return known
        credential = _bearer(authorization)
        verify = self._key if credential.startswith(KEY_PREFIX) else self._token
        return await self._remembered(_digest(credential), verify(credential))

    async def authenticate_cookie(self, cookie: str, *, fresh: bool = False) -> Principal:
        """Return the principal of a session's cookie. Raises Unauthenticated."""
        known = None if fresh else self.known_cookie(cookie)
        return known or await self._remembered(
            _digest(cookie, COOKIE_PURPOSE), self._cookie(cookie)
        )

    def drop(
        self,
        *,
        session_id: str | None = None,
        user_id: int | None = None,
    ) -> None:
        """Forget the credentials of a session or key, or of a user."""
        self._drops += 1
        for digest, (_, principal) in list(self._seen.items()):
            if principal.session_id == session_id or principal.user_id == user_id:
                del self._seen[digest]

    def clear(self) -> None:
        """Forget every credential: revocations may have been missed."""
        self._drops += 1
        self._seen.clear()

    def _recall(self, digest: bytes) -> Principal | None:
        seen = self._seen.get(digest)
        return seen[1] if seen is not None and self._now() < seen[0] else None

    async def _remembered(self, digest: bytes, verifying: Awaitable[Found]) -> Principal:
        drops = self._drops
        principal, expires = await verifying
        if self._reserved and not principal.administrator:
            principal = replace(principal, withheld=self._reserved)
        if drops == self._drops:  # else it may have been revoked while we asked
            self._seen.pop(digest, None)
            while len(self._seen) >= self._capacity:
                del self._seen[next(iter(self._seen))]  # the one verified longest ago
            until = self._now() + REMEMBER_SECONDS
            self._seen[digest] = (until if expires is None else min(until, expires), principal)
        return principal

    async def _token(self, token: str) -> Found:
        claims = self._tokens.verify(token)
        principal = await self._lookup.session(claims)
        if principal is None:
            raise Unauthenticated("The session has ended.")
        return principal, claims.expires

    async def _key(self, key: str) -> Found:
        found = await self._lookup.key(key_digest(key)) if len(key) <= _KEY_MAX else None
        if found is None:
            raise Unauthenticated("This API key is not valid, or not any more.")
        return found

    async def _cookie(self, cookie: str) -> Found:
        principal = None
        if len(cookie) <= _COOKIE_MAX and (family := _family(cookie)):
            secret = cookie.partition(".")[2]
            principal = await self._lookup.cookie(family, cookie_digest(self._tokens, secret))
        if principal is None:
            raise Unauthenticated("The session has ended.")
        return principal, None


def _family(cookie: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(hex=cookie.partition(".")[0])
    except ValueError:
        return None


def cookie_digest(tokens: Tokens, secret: str) -> bytes:
    """Return the stored digest of the secret of a browser's session: ours alone finds it."""
    return tokens.digest(COOKIE_PURPOSE, secret.encode(errors="surrogateescape"))


def key_digest(key: str) -> bytes:
    """Return the stored digest of an API key; it has 256 random bits, so a plain one will do."""
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()


def _digest(credential: str, kind: str = "") -> bytes:
    return hashlib.blake2b(
        f"{kind}\0{credential}".encode(errors="surrogateescape"), digest_size=16
    ).digest()


def _bearer(authorization: str) -> str:
    """Return the token of a `Bearer` value."""
    if authorization[: len(_SCHEME)].lower() != _SCHEME:
        raise Unauthenticated("Use the Bearer scheme.")
    credential = authorization[len(_SCHEME) :].strip()
    if len(credential) > MAX_TOKEN_CHARACTERS:
        raise Unauthenticated("The token is too long.")
    return credential
