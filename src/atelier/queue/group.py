"""A consumer group on one stream: each operation of a worker is one round trip.

Every method raises redis.exceptions.RedisError. Knows no handlers, no attempts and no dead
letters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from atelier.queue import scripts

BODY = b"body"
ACKED_AT_ONCE = 1000  # ids; Lua unpacks no more than about 8,000 arguments


class Entry(NamedTuple):
    """An entry held by a consumer; `deliveries` includes this one."""

    id: str
    body: bytes
    deliveries: int


class Postponed(NamedTuple):
    """An entry to put off: the delay, and the deliveries that count so far."""

    id: str
    seconds: float
    deliveries: int


def is_lost(error: BaseException) -> bool:
    """Return whether the error says that the stream or its group is gone.

    After FLUSHALL, or when an engine has lost its data.
    """
    return isinstance(error, ResponseError) and (
        "NOGROUP" in str(error) or "no longer exists" in str(error)
    )


class Group:
    """The group `name` of `stream`.

    An entry without a heartbeat for `lease` seconds is due for another consumer. Unless the stream
    is `shared` with other groups, an entry that is done is deleted.
    """

    def __init__(
        self, redis: Redis, stream: str, name: str, lease: float, *, shared: bool = False
    ) -> None:
        self._redis = redis
        self.stream = stream
        self.name = name
        self._lease = round(lease * 1000)
        self._shared = int(shared)
        self.lease = lease

    async def create(self) -> None:
        """Create the group, and the stream, unless they exist.

        It begins with the stream's first entry.
        """
        try:
            await self._redis.xgroup_create(self.stream, self.name, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def read(self, consumer: str, count: int, wait: float) -> list[Entry]:
        """Return up to `count` entries that were never delivered.

        Waits up to `wait` seconds for the first.
        """
        answer: Any = await self._redis.xreadgroup(
            self.name, consumer, {self.stream: ">"}, count=count, block=round(wait * 1000)
        )
        return [
            Entry(entry.decode(), fields[BODY], 1)
            for _, entries in answer or ()
            for entry, fields in entries
        ]

    async def claim(self, consumer: str, count: int) -> list[Entry]:
        """Return up to `count` entries that are due again, oldest first."""
        taken = await scripts.CLAIM(
            self._redis, (self.stream,), self.name, consumer, self._lease, count
        )
        return [Entry(entry.decode(), body, deliveries) for entry, body, deliveries in taken]

    async def beat(self, consumer: str, ids: Sequence[str]) -> int:
        """Renew the lease of the consumer's entries; return how many are still its own."""
        return int(await scripts.BEAT(self._redis, (self.stream,), self.name, consumer, *ids))

    async def put_off(self, consumer: str, entries: Sequence[Postponed]) -> None:
        """Give entries back, to be due after a delay of at most a lease."""
        arguments: list[str | int] = []
        for entry in entries:
            idle = max(0, self._lease - round(entry.seconds * 1000))
            arguments += (entry.id, idle, entry.deliveries)
        await scripts.PUT_OFF(
            self._redis, (self.stream,), self.name, consumer, scripts.WAITING, *arguments
        )

    async def leave(self, consumer: str, *, refund: bool) -> int:
        """Make all entries of a consumer due at once and delete it.

        `refund` takes back the last delivery.
        """
        arguments = (self.name, consumer, scripts.WAITING, self._lease, int(refund))
        return int(await scripts.LEAVE(self._redis, (self.stream,), *arguments))

    async def tidy(self) -> None:
        """Delete consumers that hold nothing and have been silent for a lease."""
        await scripts.TIDY(self._redis, (self.stream,), self.name, self._lease)

    async def finish(self, ids: Sequence[str]) -> None:
        """Acknowledge entries whose jobs are done."""
        for start in range(0, len(ids), ACKED_AT_ONCE):
            some = ids[start : start + ACKED_AT_ONCE]
            await scripts.FINISH(self._redis, (self.stream,), self._shared, self.name, *some)

    async def bury(self, entry: Entry, dead: str, reason: str, limit: int) -> None:
        """Acknowledge an entry and copy it to the stream `dead`, cut to the newest `limit`."""
        arguments = (self._shared, self.name, entry.id, reason, entry.deliveries, limit)
        await scripts.BURY(self._redis, (self.stream, dead), *arguments)
