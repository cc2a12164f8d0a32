"""Authentication: access tokens, passwords, and the verified tokens that a process remembers.

Knows no framework and no database: whether a session is still valid is asked through a function of
the caller's.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import time
import unicodedata
import uuid
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import jwt
from argon2 import Parameters, PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY
from jwt.types import Options

from atelier.errors import Unauthenticated, Unavailable

ALGORITHM = "HS256"
ACCESS = "access"
ISSUER = "atelier"
AUDIENCE = "atelier-api"
REQUIRED = ["iss", "aud", "sub", "sid", "jti", "iat", "exp", "typ"]
MIN_SECRET_BYTES = 32
MAX_TOKEN_CHARACTERS = 4096  # ours have about 400; longer ones are not parsed
MAX_USER_ID = 2**63 - 1
REMEMBER_SECONDS = 60  # how long a revocation in another process may go unnoticed here
REMEMBER_TOKENS = 10_000  # about 8 MB
HASHERS = 2  # passwords hashed at once: each takes 64 MiB and about 50 ms
HASHERS_BACKLOG = 100  # waiting beyond these would take longer than a client waits
# Times are compared in `_claims`, by our own clock.
_OPTIONS: Options = {
    "require": REQUIRED,
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
}
_SCHEME = "bearer "
T = TypeVar("T")
_USER_ID = re.compile(r"[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Claims:
    """The content of a valid access token.

    `session_id` names the refresh family; `expires` is in Unix seconds.
    """

    user_id: int
    session_id: str
    token_id: str
    expires: int


@dataclass(frozen=True, slots=True)
class Principal:
    """The user who makes a request, and the session of the request."""

    user_id: int
    session_id: str


class Tokens:
    """Issues and verifies access tokens.

    With several secrets (key id -> secret) the first signs and all verify.
    """

    def __init__(
        self,
        secret: str | Mapping[str, str],
        issuer: str = ISSUER,
        audience: str = AUDIENCE,
        access_seconds: int = 900,
        now: Callable[[], float] = time.time,
    ) -> None:
        secrets = {key_id(secret): secret} if isinstance(secret, str) else secret
        self._keys = {kid: key.encode() for kid, key in secrets.items()}
        if not self._keys or min(map(len, self._keys.values())) < MIN_SECRET_BYTES:
            raise ValueError(f"a secret needs {MIN_SECRET_BYTES} bytes or more")
        self._kid = next(iter(self._keys))
        self._issuer, self._audience = issuer, audience
        self._now = now
        self.access_seconds = access_seconds

    def now(self) -> int:
        """The time by which tokens are judged, in Unix seconds."""
        return int(self._now())

    def issue(
        self,
        user_id: int,
        session_id: str,
        *,
        token_id: str | None = None,
        issued: int | None = None,
    ) -> str:
        """Issue an access token for `user_id`, valid for `access_seconds` from `issued` (now).

        The same arguments make the same token.
        """
        issued = self.now() if issued is None else issued
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "typ": ACCESS,
            "sub": str(user_id),
            "sid": session_id,
            "jti": token_id or uuid.uuid4().hex,
            "iat": issued,
            "exp": issued + self.access_seconds,
        }
        return jwt.encode(claims, self._keys[self._kid], ALGORITHM, headers={"kid": self._kid})

    def verify(self, token: str) -> Claims:
        """Return the claims of `token`.

        Raises Unauthenticated with the reason when it is not a valid access token of ours.
        """
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise Unauthenticated("The token is too long.")
        try:
            key = self._keys.get(jwt.get_unverified_header(token).get("kid", ""))
            if key is None:
                raise Unauthenticated("The token was signed with an unknown key.")
            payload = jwt.decode(
                token,
                key,
                [ALGORITHM],
                options=_OPTIONS,
                issuer=self._issuer,
                audience=self._audience,
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise Unauthenticated("The token is not valid.") from error
        return self._claims(payload)

    def digest(self, purpose: str, data: bytes) -> bytes:
        """Return a keyed digest.

        Without the secret, guesses of `data` cannot be tried against it.
        """
        return hmac.digest(self._keys[self._kid], purpose.encode() + b"\0" + data, "sha256")

    def _claims(self, payload: dict[str, object]) -> Claims:
        user_id, session_id, token_id, expires = (
            payload[name] for name in ("sub", "sid", "jti", "exp")
        )
        if payload["typ"] != ACCESS:
            raise Unauthenticated("This is not an access token.")
        if (
            not isinstance(user_id, str)
            or not _USER_ID.fullmatch(user_id)
            or int(user_id) > MAX_USER_ID
        ):
            raise Unauthenticated("The token names no user.")
        if (
            not isinstance(session_id, str)
            or not isinstance(token_id, str)
            or type(expires) is not int
        ):
            raise Unauthenticated("The token is not valid.")
        if expires <= self._now():
            raise Unauthenticated("The token has expired.")
        return Claims(int(user_id), session_id, token_id, expires)


def key_id(secret: str) -> str:
    """Return the name under which tokens refer to `secret`, without giving it away."""
    return hmac.new(secret.encode(), b"kid", hashlib.sha256).hexdigest()[:16]


class Passwords:
    """Argon2id off the event loop, at most `HASHERS` at once and `HASHERS_BACKLOG` waiting."""

    def __init__(self, parameters: Parameters = RFC_9106_LOW_MEMORY) -> None:
        self._hasher = PasswordHasher.from_parameters(parameters)
        self._threads = ThreadPoolExecutor(HASHERS, "argon2")
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """Return the encoded hash to store."""
        return await self._run(self._hash, password)

    async def verify(self, encoded: str | None, password: str) -> bool:
        """Return whether `password` matches `encoded`.

        None (no such user) never matches and takes the same time.
        """
        return await self._run(self._verify, encoded, password)

    def outdated(self, encoded: str) -> bool:
        """Return whether `encoded` has other parameters than today's.

        It should be replaced at the next login then.
        """
        return self._hasher.check_needs_rehash(encoded)

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[..., T], *args: object) -> T:
        if self._waiting >= HASHERS + HASHERS_BACKLOG:
            raise Unavailable("Too many people are signing in.", retry_after=5)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
        finally:
            self._waiting -= 1

    def _hash(self, password: str) -> str:
        return self._hasher.hash(_composed(password))

    def _verify(self, encoded: str | None, password: str) -> bool:
        if encoded is None:
            # The work of a verification, with the same parameters.
            self._hasher.hash(_composed(password))
            return False
        try:
            return self._hasher.verify(encoded, _composed(password))
        except (VerificationError, InvalidHashError):
            return False


def _composed(password: str) -> str:
    """Normalise to NFC, so that a password typed on another keyboard is the same one."""
    return unicodedata.normalize("NFC", password)


class Authenticator:
    """Turns an `Authorization` value into a principal; remembers verified tokens for a while.

    They are remembered for `REMEMBER_SECONDS` at most. `alive` says whether the session of a token
    is still valid; it is asked when a token is first seen.
    """

    def __init__(
        self,
        tokens: Tokens,
        alive: Callable[[Claims], Awaitable[bool]],
        *,
        capacity: int = REMEMBER_TOKENS,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._tokens, self._alive = tokens, alive
        self._capacity = capacity
        self._now = now
        self._seen: dict[str, tuple[float, Principal]] = {}
        self._drops = 0

    def known(self, authorization: str) -> Principal | None:
        """Return the principal of a recently verified value: no signature check, no await."""
        seen = self._seen.get(authorization)
        return seen[1] if seen is not None and self._now() < seen[0] else None

    async def authenticate(self, authorization: str | None) -> Principal:
        """Return the principal of an `Authorization` header (or gRPC metadata) value.

        Raises Unauthenticated.
        """
        if not authorization:
            raise Unauthenticated("Sign in first.")
        return self.known(authorization) or await self._verify(authorization)

    def drop(self, *, session_id: str | None = None, user_id: int | None = None) -> None:
        """Forget the tokens of a session, or of a user: they were revoked."""
        self._drops += 1
        for authorization, (_, principal) in list(self._seen.items()):
            if principal.session_id == session_id or principal.user_id == user_id:
                del self._seen[authorization]

    def clear(self) -> None:
        """Forget every token: revocations may have been missed."""
        self._drops += 1
        self._seen.clear()

    async def _verify(self, authorization: str) -> Principal:
        claims = self._tokens.verify(_bearer(authorization))
        drops = self._drops
        if not await self._alive(claims):
            raise Unauthenticated("The session has ended.")
        principal = Principal(claims.user_id, claims.session_id)
        if drops == self._drops:  # else it may have been revoked while we asked
            self._remember(authorization, principal, claims.expires)
        return principal

    def _remember(self, authorization: str, principal: Principal, expires: int) -> None:
        self._seen.pop(authorization, None)
        while len(self._seen) >= self._capacity:
            del self._seen[next(iter(self._seen))]  # the one verified longest ago
        self._seen[authorization] = (min(self._now() + REMEMBER_SECONDS, expires), principal)


def _bearer(authorization: str) -> str:
    """Return the token of a `Bearer` value."""
    if authorization[: len(_SCHEME)].lower() != _SCHEME:
        raise Unauthenticated("Use the Bearer scheme.")
    return authorization[len(_SCHEME) :].strip()
