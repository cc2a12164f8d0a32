"""The limits of attempts to sign in and of everything else that costs a password's hash.

Each is judged before anything is hashed: a client network's attempts, an account's failures from
one network, and an account's failures from everywhere. The page docs/reference/limits.md is made
from the constants.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from enum import StrEnum
from weakref import WeakValueDictionary

from limits import RateLimitItem, RateLimitItemPerMinute
from redis.asyncio import Redis
from starlette.requests import HTTPConnection

from atelier.errors import Forbidden, TooManyRequests, Unauthenticated, Unavailable
from atelier.http.windows import Windows
from atelier.observe import audit
from atelier.observe.audit import AuditEvent
from atelier.observe.metrics import SIGN_INS
from atelier.wire.networks import client_network

PREFIX = "atelier:logins"


class Kind(StrEnum):
    """What is attempted; each is counted for itself."""

    SIGN_IN = "sign-in"
    REGISTRATION = "registration"
    CHANGE = "change of a password"
    RESET = "reset of a password"
    REFRESH = "refresh"


# Attempts a minute of one client network, in multiples of the setting `sign_ins_per_minute`.
NETWORK_SHARES = {
    Kind.SIGN_IN: 1,
    Kind.REGISTRATION: 1,
    Kind.CHANGE: 1,
    Kind.RESET: 1,
    Kind.REFRESH: 10,  # hashes no password; every open session of an office refreshes
}
# An account whose failures come from many networks: a stranger's attempt is delayed, by so much
# for each failure beyond the free ones.
ACCOUNT_MINUTES = 15  # the window in which failures are counted
ACCOUNT_FREE_FAILURES = 10
ACCOUNT_DELAY_STEP_SECONDS = 0.5
ACCOUNT_DELAY_MAX_SECONDS = 10.0
KNOWN_DAYS = 30  # for which a network that has signed in to an account is no stranger to it

_ACCOUNT = RateLimitItemPerMinute(
    ACCOUNT_FREE_FAILURES + round(ACCOUNT_DELAY_MAX_SECONDS / ACCOUNT_DELAY_STEP_SECONDS),
    ACCOUNT_MINUTES,
    namespace="ACCOUNT",
)


class Limits:
    """The limits of one API process, shared with the others through Redis."""

    def __init__(
        self, redis: Redis, *, failures_per_minute: int, attempts_per_minute: int
    ) -> None:
        self._redis = redis
        self._windows = Windows(redis, PREFIX)
        self._failures = RateLimitItemPerMinute(failures_per_minute)
        self._attempts = {
            kind: RateLimitItemPerMinute(attempts_per_minute * share, namespace=kind.name)
            for kind, share in NETWORK_SHARES.items()
        }
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def attempt(
        self, kind: Kind, *, client: str, account: str | None = None, hidden: str | None = None
    ) -> AsyncIterator[None]:
        """Make one attempt inside; it has failed when Unauthenticated or Forbidden leaves it.

        `client` is an address. `account` is the folded address that was typed, whether anyone has
        it or not; leave it out where the attempt does not try a password, and `hidden` is its name
        in the audit log. Raises TooManyRequests.
        """
        with _counted(kind, hidden):
            network = client_network(client)
            await self._require(
                await self._windows.hit(self._attempts[kind], _digest(network)),
                self._attempts[kind],
                _digest(network),
                "Too many attempts from your network; wait.",
            )
            if account is None:
                yield
                return
            # Attempts of one key take turns: no burst passes between check and failure.
            key = _digest(account, network)
            turn = self._turns.setdefault(key, asyncio.Lock())
            async with turn, self._trying(_digest(account), key):
                yield

    @asynccontextmanager
    async def _trying(self, account: str, key: str) -> AsyncIterator[None]:
        """Try a password of an account from the network of `key`."""
        await self._require(
            await self._windows.has_room(self._failures, key),
            self._failures,
            key,
            "Too many failed sign-ins; wait.",
        )
        await self._slow_down(account, key)
        try:
            yield
        except (Unauthenticated, Forbidden):
            await self._windows.hit(self._failures, key)
            await self._windows.hit(_ACCOUNT, account)
            raise
        seconds = KNOWN_DAYS * 24 * 3600
        await self._windows.ask(lambda: self._redis.set(_known(key), 1, ex=seconds))

    async def _require(self, has_room: bool, limit: RateLimitItem, key: str, detail: str) -> None:
        if not has_room:
            wait = await self._windows.wait_seconds(limit, key)
            raise TooManyRequests(detail, retry_after=wait)

    async def _slow_down(self, account: str, key: str) -> None:
        """Wait, if others have failed at this account and nobody of this network has signed in.

        Nobody is refused here: else an attacker could lock the owner out.
        """
        seconds = delay_seconds(await self._windows.count(_ACCOUNT, account))
        if seconds and not await self._windows.ask(lambda: self._redis.exists(_known(key))):
            await asyncio.sleep(seconds)


def delay_seconds(failures: int) -> float:
    """Return the delay of a stranger's attempt at an account after so many failures."""
    beyond = max(0, failures - ACCOUNT_FREE_FAILURES)
    return min(beyond * ACCOUNT_DELAY_STEP_SECONDS, ACCOUNT_DELAY_MAX_SECONDS)


def client_of(connection: HTTPConnection) -> str:
    """Return the address of the client of a request, as `attempt` and `Passwords` want it."""
    return connection.client.host if connection.client else ""


@contextmanager
def _counted(kind: Kind, hidden: str | None) -> Iterator[None]:
    """Count what comes of a sign-in, and record attempts that were refused."""
    outcome = "ok"
    try:
        yield
    except Unauthenticated:
        outcome = "wrong"
        raise
    except TooManyRequests:
        outcome = "throttled"
        audit.record(AuditEvent.SIGN_IN_THROTTLED, attempt=str(kind), address=hidden)
        raise
    except Unavailable:
        outcome = "busy"
        raise
    except BaseException:
        outcome = ""
        raise
    finally:
        if outcome and kind is Kind.SIGN_IN:
            SIGN_INS.labels(outcome).inc()


def _known(key: str) -> str:
    return f"{PREFIX}:known:{key}"


def _digest(*parts: str) -> str:
    """One key for these; a digest, so that Redis holds no addresses."""
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()
