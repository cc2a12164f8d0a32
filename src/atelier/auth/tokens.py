"""Issues and verifies access tokens. Knows no session: whether one is open is asked elsewhere."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jwt
from jwt.types import Options

from atelier.errors import Unauthenticated

ALGORITHM = "HS256"
ACCESS = "access"
ISSUER = "atelier"
AUDIENCE = "atelier-api"
REQUIRED = ["iss", "aud", "sub", "sid", "jti", "iat", "exp", "typ"]
MIN_SECRET_BYTES = 32
MAX_TOKEN_CHARACTERS = 4096  # ours have about 400; longer ones are not parsed
MAX_USER_ID = 2**63 - 1
# Times are compared in `_claims`, by our own clock.
_OPTIONS: Options = {
    "require": REQUIRED,
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
}
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

    @property
    def family(self) -> uuid.UUID | None:
        """The refresh family as its table has it; None for a name that is none."""
        try:
            return uuid.UUID(self.session_id)
        except ValueError:
            return None


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
        """Return the time by which tokens are judged, in Unix seconds."""
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
