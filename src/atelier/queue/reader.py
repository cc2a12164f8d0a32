"""A named consumer in a group: takes entries, keeps their leases, gives them back.

Survives the loss of an engine. Knows nothing of the work on the entries.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from redis.exceptions import RedisError

from atelier.queue.group import Entry, Group, Postponed, is_lost
from atelier.retry import Outage

log = logging.getLogger("atelier.queue")

# Seconds between claims of entries that are due again, and the longest wait of a blocking read
POLL = 0.5
BEATS = 3  # heartbeats per lease
TROUBLE = (RedisError, OSError)


class Reader:
    """Takes up to `count` entries of `group` at a time, as `consumer`.

    No other living process may have the consumer's name.
    """

    def __init__(self, group: Group, consumer: str, count: int) -> None:
        self._group = group
        self._consumer = consumer
        self._count = count
        self._entered = False
        self._next_claim = 0.0
        self._next_tidy = 0.0
        self.outage = Outage(log, f"the engine of stream {group.stream}")
        self.held: set[str] = set()

    async def take(self) -> list[Entry]:
        """Return entries that are due again, else new ones.

        The list is empty when none came in a while or the engine is in trouble.
        """
        try:
            await self._enter()
            entries = await self._claim() or await self._group.read(
                self._consumer, self._count, POLL
            )
        except TROUBLE as error:
            await self._recover(error)
            return []
        self.outage.over()
        self.held.update(entry.id for entry in entries)
        return entries

    async def _enter(self) -> None:
        """Release the entries of an earlier process of this name before their lease ends."""
        if not self._entered:
            await self._group.create()
            await self._group.leave(self._consumer, refund=False)
            self._entered = True

    async def _claim(self) -> list[Entry]:
        now = time.monotonic()
        if now < self._next_claim:
            return []
        entries = await self._group.claim(self._consumer, self._count)
        if len(entries) < self._count:
            self._next_claim = now + POLL
        if now >= self._next_tidy:
            await self._group.tidy()
            self._next_tidy = now + self._group.lease
        return entries

    async def _recover(self, error: Exception) -> None:
        if not is_lost(error):
            await self.outage.failed(error)
            return
        log.warning(
            "stream %s has lost its group %s; creating it again",
            self._group.stream,
            self._group.name,
        )
        try:
            await self._group.create()
        except TROUBLE as failure:
            await self.outage.failed(failure)

    async def keep(self) -> None:
        """Keep the leases of the held entries, until cancelled."""
        while True:
            await asyncio.sleep(self._group.lease / BEATS)
            try:
                if self.held:
                    await self._group.beat(self._consumer, list(self.held))
            except TROUBLE as error:
                log.debug("no heartbeat: %s", error)

    async def put_off(self, entries: Sequence[Postponed]) -> None:
        """Give entries back.

        When the engine is down they stay held without heartbeats, and are due after a lease.
        """
        self.held.difference_update(entry.id for entry in entries)
        try:
            await self._group.put_off(self._consumer, entries)
        except TROUBLE as error:
            log.debug("%d entries not given back: %s", len(entries), error)

    async def leave(self, *, refund: bool) -> None:
        """Give everything back and delete the consumer."""
        try:
            await self._group.leave(self._consumer, refund=refund)
        except TROUBLE as error:
            if not is_lost(error):
                log.warning(
                    "stream %s could not be left; what was held comes after a lease",
                    self._group.stream,
                )
