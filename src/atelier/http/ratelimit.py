"""The limit of failed sign-ins: a moving window in Redis, per address and client.

Without Redis signing in works, and the log says that it is unguarded.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import time
from collections.abc import Awaitable
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from atelier.errors import TooManyRequests
from atelier.wire.networks import client_network

T = TypeVar("T")

PREFIX = "atelier:logins"
REDIS_SECONDS = 1.0  # a sign-in waits no longer than this for the limit

log = logging.getLogger(__name__)


class LoginLimit:
    """At most `per_minute` failures within any minute, for each key."""

    def __init__(self, redis: Redis, per_minute: int) -> None:
        pool: Any = (
            redis.connection_pool
        )  # the storage's annotation leaves pools out, its documentation does not
        storage = RedisStorage(
            "async+redis://", implementation="redispy", key_prefix=PREFIX, connection_pool=pool
        )
        self._limiter = MovingWindowRateLimiter(storage)
        self._limit = RateLimitItemPerMinute(per_minute)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def turn(self, key: str) -> asyncio.Lock:
        """Sign-ins of one key take turns: no burst passes between check and failure."""
        return self._turns.setdefault(key, asyncio.Lock())

    async def check(self, key: str) -> None:
        """Raises TooManyRequests when `key` has failed too often."""
        if await _answer(self._limiter.test(self._limit, key)) is not False:
            return
        stats = await _answer(self._limiter.get_window_stats(self._limit, key))
        wait = math.ceil(stats.reset_time - time.time()) if stats else 60
        raise TooManyRequests("Too many failed sign-ins; wait.", retry_after=max(1, wait))

    async def failed(self, key: str) -> None:
        """Count one failure."""
        await _answer(self._limiter.hit(self._limit, key))


async def _answer(question: Awaitable[T]) -> T | None:
    """Redis's answer; None without one."""
    try:
        async with asyncio.timeout(REDIS_SECONDS):
            return await question
    except (RedisError, OSError, TimeoutError) as error:
        log.warning("failed sign-ins are not limited: %s: %s", type(error).__name__, error)
        return None


def login_key(address: str, client: str) -> str:
    """One key per address and client; a digest, so that Redis holds no addresses."""
    return hashlib.sha256(
        f"{address}\0{client_network(client)}".encode(errors="replace")
    ).hexdigest()
