"""Moving windows of attempts, counted in Redis for all processes and by each process for itself.

While Redis is away, slow or full, what this process has counted is what holds: the same numbers,
per process.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from limits import RateLimitItem
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.asyncio import Redis
from redis.exceptions import RedisError

T = TypeVar("T")

REDIS_SECONDS = 1.0  # an attempt waits no longer than this for Redis
PAUSE_SECONDS = 1.0  # in which Redis is not asked after it gave no answer
LOCAL_KEYS = 10_000  # windows that one process remembers: about 5 MB

log = logging.getLogger(__name__)


class LocalWindows:
    """The windows of one process; of too many keys those not used for longest are forgotten."""

    def __init__(self, capacity: int = LOCAL_KEYS) -> None:
        self._capacity = capacity
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def hit(self, limit: RateLimitItem, key: str) -> bool:
        """Count one if there is room; say whether there was."""
        if self.count(limit, key) >= limit.amount:
            return False
        name = limit.key_for(key)
        self._times.setdefault(name, deque()).append(time.monotonic())
        self._times.move_to_end(name)
        while len(self._times) > self._capacity:
            self._times.popitem(last=False)
        return True

    def take_back(self, limit: RateLimitItem, key: str) -> None:
        """Undo the last hit."""
        if times := self._times.get(limit.key_for(key)):
            times.pop()

    def count(self, limit: RateLimitItem, key: str) -> int:
        """Return how many there were within the window."""
        name = limit.key_for(key)
        times = self._times.get(name)
        if times is None:
            return 0
        since = time.monotonic() - limit.get_expiry()
        while times and times[0] <= since:
            times.popleft()
        if not times:
            del self._times[name]
        return len(times)

    def wait_seconds(self, limit: RateLimitItem, key: str) -> float:
        """Return in how long the oldest leaves the window."""
        times = self._times.get(limit.key_for(key))
        return times[0] + limit.get_expiry() - time.monotonic() if times else 0.0


class Windows:
    """The windows of all processes, as far as Redis can be asked."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        # The storage's annotation leaves pools out, its documentation does not.
        pool: Any = redis.connection_pool
        self._shared = MovingWindowRateLimiter(
            RedisStorage(
                "async+redis://", implementation="redispy", key_prefix=prefix, connection_pool=pool
            )
        )
        self._local = LocalWindows()
        self._asked_again = 0.0
        self._away = False

    async def hit(self, limit: RateLimitItem, key: str) -> bool:
        """Count one if there is room; say whether there was.

        A flood that this process refuses by itself costs Redis nothing.
        """
        if not self._local.hit(limit, key):
            return False
        if await self.ask(lambda: self._shared.hit(limit, key)) is False:
            self._local.take_back(limit, key)
            return False
        return True

    async def has_room(self, limit: RateLimitItem, key: str) -> bool:
        """Say whether one could be counted."""
        if self._local.count(limit, key) >= limit.amount:
            return False
        return await self.ask(lambda: self._shared.test(limit, key)) is not False

    async def count(self, limit: RateLimitItem, key: str) -> int:
        """Return how many there were within the window, `limit.amount` at most."""
        stats = await self.ask(lambda: self._shared.get_window_stats(limit, key))
        shared = limit.amount - stats.remaining if stats else 0
        return max(shared, self._local.count(limit, key))

    async def wait_seconds(self, limit: RateLimitItem, key: str) -> int:
        """Return in how long there is room again, a second at least."""
        stats = await self.ask(lambda: self._shared.get_window_stats(limit, key))
        if stats and not stats.remaining:
            wait = stats.reset_time - time.time()
        else:
            wait = self._local.wait_seconds(limit, key)
        return min(max(1, math.ceil(wait)), limit.get_expiry())

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T | None:
        """Return Redis's answer; None without one, and for a while after that."""
        if time.monotonic() < self._asked_again:
            return None
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                answer = await question()
        except (RedisError, OSError, TimeoutError) as error:
            self._asked_again = time.monotonic() + PAUSE_SECONDS
            if not self._away:
                log.warning(
                    "attempts are limited by each process alone: %s: %s",
                    type(error).__name__,
                    error,
                )
            self._away = True
            return None
        if self._away:
            self._away = False
            log.info("attempts are limited across processes again")
        return answer
