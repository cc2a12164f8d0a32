"""Hand-offs of bounded size: whoever is faster waits, so memory does not grow with what is to be done."""

from __future__ import annotations

import asyncio

from atelier.classify.outcomes import Entry


class Channel:
    """Entries from the source to the processes: a few, so that the source follows their pace."""

    def __init__(self, most: int) -> None:
        self._queue: asyncio.Queue[Entry | None] = asyncio.Queue(most)

    async def put(self, entry: Entry) -> None:
        """Hand an entry on, when there is room."""
        await self._queue.put(entry)

    def now(self) -> Entry | None:
        """An entry if there is one at hand."""
        try:
            entry = self._queue.get_nowait()
        except asyncio.QueueEmpty:
            return None
        if entry is None:
            self._queue.put_nowait(None)
        return entry

    async def next(self) -> Entry | None:
        """The next entry; none when there will be no more."""
        entry = await self._queue.get()
        if entry is None:
            self._queue.put_nowait(None)
        return entry

    async def close(self) -> None:
        """There will be no more."""
        await self._queue.put(None)


class Room:
    """A budget of bytes: whoever would exceed it waits, but for one that is larger than all of it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._used = 0
        self._freed = asyncio.Condition()

    async def take(self, size: int) -> None:
        """Wait for room and take it."""
        async with self._freed:
            await self._freed.wait_for(lambda: not self._used or self._used + size <= self._most)
            self._used += size

    async def free(self, size: int) -> None:
        """Give back the room that `take` took."""
        async with self._freed:
            self._used -= size
            self._freed.notify_all()
