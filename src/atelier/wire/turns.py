"""Turns at something scarce: clients that wait are served in rotation, one request of each.

However much one client asks for, another waits for no more than one request of each client before
its own. Knows nothing of what is scarce.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from atelier.errors import TooManyRequests, Unavailable

RETRY_SECONDS = 5  # by then a full queue has been worked off


class Turns:
    """As many turns at once as there are `places`; the others wait, per client in order.

    Of one client `per_client` may wait, of all together `total`. When all are full the client that
    waits with most gives its last place to one that waits with fewer.
    """

    def __init__(self, places: int, *, per_client: int, total: int) -> None:
        self._free = places
        self._per_client, self._total = per_client, total
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._waiting = 0

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[None]:
        """Have a turn while inside.

        Raises TooManyRequests when too many of this client wait, and Unavailable when too many
        wait in all, at once or while it waits.
        """
        if self._free:
            self._free -= 1
        else:
            await self._wait(client)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, client: str) -> None:
        self._make_room(client)
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(client, deque()).append(mine)
        self._waiting += 1
        try:
            await mine
        except asyncio.CancelledError:
            if mine.cancelled():
                self._leave(client, mine)
            else:
                self._pass_on()  # its turn had come already
            raise

    def _make_room(self, client: str) -> None:
        """Refuse one when the queue is full: the last of who waits with most, or this one."""
        mine = len(self._queues.get(client, ()))
        if mine >= self._per_client:
            raise TooManyRequests(
                "Too many requests of this client wait.", retry_after=RETRY_SECONDS
            )
        if self._waiting < self._total:
            return
        longest = max(self._queues, key=lambda name: len(self._queues[name]))
        if len(self._queues[longest]) <= mine + 1:
            raise _busy()
        last = self._queues[longest][-1]
        self._leave(longest, last)
        last.set_exception(_busy())

    def _pass_on(self) -> None:
        """Give a place that has become free to the client whose turn it is."""
        while self._queues:
            client, queue = next(iter(self._queues.items()))
            one = queue[0]
            self._leave(client, one)
            if client in self._queues:
                self._queues.move_to_end(client)
            if not one.cancelled():  # else its task has yet to notice
                one.set_result(None)
                return
        self._free += 1

    def _leave(self, client: str, one: asyncio.Future[None]) -> None:
        queue = self._queues.get(client, ())
        if one not in queue:
            return
        self._queues[client].remove(one)
        self._waiting -= 1
        if not self._queues[client]:
            del self._queues[client]


def _busy() -> Unavailable:
    return Unavailable("Too many people are waiting for this.", retry_after=RETRY_SECONDS)
