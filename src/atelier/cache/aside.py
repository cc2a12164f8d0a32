"""Cache-aside on Redis that is never stale after an acknowledged write.

One Redis key per cached key holds a value, a *lease* (a reader loads it) or a *fence* (a writer is
about to commit). A reader stores what it loaded only while its lease stands; a writer's fence ends
every lease and keeps new ones out until the write is committed. Reads work without Redis; writes
do not. Knows nothing of the values.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import suppress
from itertools import count
from typing import Any, Final, NamedTuple, TypeGuard

from prometheus_client import Counter
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from atelier.cache.batcher import Batcher
from atelier.errors import Unavailable
from atelier.lua import Script
from atelier.observe.metrics import CACHE

log = logging.getLogger("atelier.cache")

_LOOK = Script("atelier.cache", "lua/look.lua")
_FILL = Script("atelier.cache", "lua/fill.lua")
_FENCE = Script("atelier.cache", "lua/fence.lua")
_DROP = Script("atelier.cache", "lua/drop.lua")
LEASE_MS = (
    3000  # above the time a load takes; a reader that dies keeps others from filling for so long
)
FENCE_MS = 30_000  # twice the longest statement: a commit that takes longer finds its fence gone
WAIT_SECONDS = 0.1  # how long a reader waits for another process that is loading the same
POLL_SECONDS = 0.01
PROBE_SECONDS = 1.0  # between looks whether Redis is back
# To connect, and for a command: the source serves a read better than a slow cache does.
TIMEOUT_SECONDS = 0.5
LOOKUPS, FILLS = 256, 16  # keys per round trip
# Of values per round trip and direction, and one value more: Redis counts as its own memory what
# it has yet to send or to read.
TRIP_BYTES = 1024 * 1024
MAX_BYTES = 128 * 1024 * 1024  # of all values that all processes keep
OVERHEAD_BYTES = 400  # of Redis for each value: its key, its expiry, its entry in the index
EVICTIONS = 1000  # per round trip: about a millisecond; the next goes on

REDIS_ERRORS = (RedisError, OSError)
RUN_ID = re.compile(r"run_id:([0-9a-f]+)")

COUNTS = ("values", "bytes")  # the index of all values, and what they take
VALUE, LEASE, FENCE = b"v", b"l", b"f"  # the first byte of a key's value


class _Fill(NamedTuple):
    """A value that a reader loaded under a lease; empty when there is nothing to keep."""

    key: str
    lease: bytes
    value: bytes
    ttl_ms: int


class _Loading(NamedTuple):
    """A reader of this process that is loading under a lease.

    Its future is cancelled when the load fails.
    """

    lease: bytes
    value: asyncio.Future[bytes | None]


class _Absent(NamedTuple):
    """Nothing is cached, and the reader now holds this lease."""

    lease: bytes


class _Away:
    """Redis cannot be asked."""


AWAY: Final = _Away()
Found = bytes | _Absent | _Away


def _is(found: Found, kind: bytes) -> TypeGuard[bytes]:
    return isinstance(found, bytes) and found[:1] == kind


class Cache:
    """The cache of one process. Counts `hits` and `misses`.

    It uses connections of its own, with short timeouts, to the Redis of the given client. All
    processes together keep `max_bytes` there; above that the values that expire first go. A full
    Redis keeps no new values, and is no reason to refuse a change.
    """

    def __init__(self, redis: Redis, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self.hits = 0
        self.misses = 0
        self._counters: dict[tuple[str, str], Counter] = {}
        self._redis = Redis(connection_pool=self._own_pool(redis.connection_pool))
        self._peek = Batcher(self._peek_many, LOOKUPS)
        self._look = Batcher(self._look_many, LOOKUPS)
        self._fill = Batcher(self._fill_many, FILLS)
        self._loading: dict[str, _Loading] = {}
        self._leases = (f"l{secrets.token_hex(8)}{number}".encode() for number in count())
        # Keys carry Redis's run id: after a restart the data on disk may lack the last fences, so
        # it is not used.
        self._run_id = ""
        self._away = False
        self._probe: asyncio.Task[None] | None = None

    async def get(self, key: str) -> bytes | None:
        """Return the cached value, or None. Never raises because Redis is down."""
        return self._counted(key, await self._peek(key))

    async def get_or_load(
        self,
        key: str,
        loader: Callable[[], Awaitable[bytes | None]],
        ttl: float,
        limit: int | None = None,
    ) -> bytes | None:
        """Return the cached value, else the one that `loader` reads, kept for `ttl` seconds.

        None, empty values and those longer than `limit` bytes are not kept. All loaders of one key
        must be alike: of many concurrent readers one loads and the others take its result, unless
        a write came between.
        """
        found = await self._look_or_wait(key)
        if (value := self._counted(key, found)) is not None:
            return value
        if (loading := self._loading_under(key, found)) is not None:
            # Not awaited itself: a reader that is cancelled must not cancel the value for the
            # others.
            await asyncio.wait([loading])
            return await loader() if loading.cancelled() else loading.result()
        if isinstance(found, _Absent):
            return await self._load(_Fill(key, found.lease, b"", int(ttl * 1000)), loader, limit)
        return await loader()

    async def fence(self, keys: Collection[str]) -> None:
        """Forget the keys before a change is committed, and keep readers from filling them.

        Call it while holding the rows' locks. Raises Unavailable when Redis cannot be reached: the
        change must not be committed then.
        """
        if not keys:
            return
        problem: Exception | None = None
        # Twice: the first try may find that Redis was restarted, before it or during it.
        for _ in range(2):
            try:
                if await self._run(_FENCE, [*COUNTS, *keys], FENCE_MS, OVERHEAD_BYTES):
                    return
            except REDIS_ERRORS as error:
                problem = error
        raise Unavailable("The cache cannot be reached.", retry_after=1) from problem

    async def drop(self, keys: Collection[str]) -> None:
        """Let readers fill again, after the commit. When that fails the fence expires.

        After a failed commit leave the fence alone: the server may still be about to commit.
        """
        try:
            if keys and not await self._run(_DROP, keys):
                await self._run(_DROP, keys)
        except REDIS_ERRORS as error:
            log.warning("%d keys stay fenced for a while: %s", len(keys), error)

    async def close(self) -> None:
        """Close every connection."""
        if self._probe is not None:
            self._probe.cancel()
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    def _own_pool(self, theirs: ConnectionPool) -> ConnectionPool:
        own = {
            "socket_timeout": TIMEOUT_SECONDS,
            "socket_connect_timeout": TIMEOUT_SECONDS,
            "retry": Retry(NoBackoff(), 0),
            "redis_connect_func": self._connected,
        }
        return ConnectionPool(
            connection_class=theirs.connection_class, **theirs.connection_kwargs | own
        )

    async def _connected(self, connection: AbstractConnection) -> None:
        """Read the run id of Redis on every new connection, before a command is sent."""
        await connection.on_connect()
        await connection.send_command("INFO", "server")
        found = RUN_ID.search(str(await connection.read_response()))
        self._run_id = found[1] if found else ""

    def _counted(self, key: str, found: Found) -> bytes | None:
        kind = key.partition(":")[0]
        if _is(found, VALUE):
            self.hits += 1
            self._count(kind, "hit")
            return found[1:]
        self.misses += 1
        self._count(
            kind, "away" if found is AWAY else "miss" if isinstance(found, _Absent) else "busy"
        )
        return None

    def _count(self, kind: str, result: str) -> None:
        counter = self._counters.get((kind, result))
        if counter is None:
            counter = self._counters[kind, result] = CACHE.labels(kind, result)
        counter.inc()

    async def _run(self, script: Script, keys: Collection[str], *args: bytes | int) -> Any:
        """A script's answer; None when Redis was restarted meanwhile.

        The keys were the former run's then.
        """
        if not self._run_id:
            await self._redis.ping()
        # A connection that is opened for the script may lead to a restarted Redis and change it.
        run_id = self._run_id
        answer = await script(self._redis, [f"cache:{run_id}:{key}" for key in keys], *args)
        return answer if self._run_id == run_id else None

    async def _look_or_wait(self, key: str) -> Found:
        """Return the key's entry; while another process loads it, wait a little for the value."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + WAIT_SECONDS
        while not self._away:
            found = await self._look(key)
            if not _is(found, LEASE) or self._loading_under(key, found) or clock() > deadline:
                return found
            await asyncio.sleep(POLL_SECONDS)
        return AWAY

    def _loading_under(self, key: str, found: Found) -> asyncio.Future[bytes | None] | None:
        """Return the value that this process is loading under the lease that was found.

        It is as good as one's own: no write ended between the lease and the look, so the load sees
        every earlier write.
        """
        lease = found.lease if isinstance(found, _Absent) else found
        loading = self._loading.get(key)
        return loading.value if loading and loading.lease == lease else None

    async def _load(
        self, fill: _Fill, loader: Callable[[], Awaitable[bytes | None]], limit: int | None
    ) -> bytes | None:
        """Load under a lease; hand the value to waiting readers; keep it if the lease stands."""
        loading = self._loading[fill.key] = _Loading(
            fill.lease, asyncio.get_running_loop().create_future()
        )
        try:
            value = await loader()
            loading.value.set_result(value)
            if value and self._fits(len(value), limit):
                fill = fill._replace(value=VALUE + value)
            await self._fill(fill)
        finally:
            if not loading.value.done():
                loading.value.cancel()
                self._fill(fill)  # empty, it only ends the lease
            # A fence may have ended the lease, and a later reader taken its place.
            if self._loading.get(fill.key) is loading:
                del self._loading[fill.key]
        return value

    def _fits(self, size: int, limit: int | None) -> bool:
        return size + OVERHEAD_BYTES < self.max_bytes and (limit is None or size <= limit)

    async def _peek_many(self, keys: Sequence[str]) -> list[Found]:
        return await self._look_many(keys, b"")

    async def _look_many(self, keys: Sequence[str], lease: bytes | None = None) -> list[Found]:
        """Return the entry of each key; a key without one gets a lease."""
        lease = next(self._leases) if lease is None else lease
        left = list(dict.fromkeys(keys))
        found: dict[str, Any] = {}
        while left:
            try:
                arguments = (lease, LEASE_MS, TRIP_BYTES)
                answer = None if self._away else await self._run(_LOOK, left, *arguments)
            except REDIS_ERRORS as error:
                answer = None
                self._leave(error)
            if answer is None:
                return [AWAY] * len(keys)
            found.update(zip(left, answer, strict=False))
            left = left[len(answer) :]
        return [_Absent(lease) if found[key] is None else found[key] for key in keys]

    async def _fill_many(self, fills: Sequence[_Fill]) -> list[bool]:
        """Keep each value whose lease stands; return which did."""
        return [stood for portion in _portions(fills) for stood in await self._fill_some(portion)]

    async def _fill_some(self, fills: Sequence[_Fill]) -> list[bool]:
        keys = [*COUNTS, *(fill.key for fill in fills)]
        arguments = [part for fill in fills for part in (fill.lease, fill.value, fill.ttl_ms)]
        limits = (self.max_bytes, OVERHEAD_BYTES, EVICTIONS)
        try:
            answer = None if self._away else await self._run(_FILL, keys, *limits, *arguments)
        except REDIS_ERRORS as error:
            answer = None
            self._leave(error)
        return [bool(stood) for stood in answer] if answer else [False] * len(fills)

    def _leave(self, problem: Exception) -> None:
        """Work without Redis until a probe finds it again.

        Without this each reader would wait for its own timeout.
        """
        if not self._away:
            log.warning("reading without Redis: %s", problem)
            self._away = True
            self._probe = asyncio.get_running_loop().create_task(self._return())

    async def _return(self) -> None:
        while self._away:
            await asyncio.sleep(PROBE_SECONDS)
            with suppress(*REDIS_ERRORS):
                await self._redis.ping()
                self._away = False
                log.info("Redis is back")


def _portions(fills: Sequence[_Fill]) -> Iterator[list[_Fill]]:
    """Split what one round trip should not carry."""
    portion: list[_Fill] = []
    size = 0
    for fill in fills:
        if portion and size + len(fill.value) > TRIP_BYTES:
            yield portion
            portion, size = [], 0
        portion.append(fill)
        size += len(fill.value)
    yield portion
