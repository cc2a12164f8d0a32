"""Bounded hand-over between stages: the faster side waits, so memory does not grow."""

from __future__ import annotations

import asyncio

from atelier.classify.outcomes import Entry


class Channel:
    """Entries from the source to the processes: few, so that the source keeps their pace."""

    def __init__(self, most: int) -> None:
        self._queue: asyncio.Queue[Entry | None] = asyncio.Queue(most)

    async def put(self, entry: Entry) -> None:
        """Pass an entry on as soon as there is room."""
        await self._queue.put(entry)

    def now(self) -> Entry | None:
        """An entry, if one is there without waiting."""
        try:
            entry = self._queue.get_nowait()
        except asyncio.QueueEmpty:
            return None
        if entry is None:
            self._queue.put_nowait(None)
        return entry

    async def next(self) -> Entry | None:
        """The next entry; None after the last."""
        entry = await self._queue.get()
        if entry is None:
            self._queue.put_nowait(None)
        return entry

    async def close(self) -> None:
        """End the channel: no entry follows."""
        await self._queue.put(None)


class Room:
    """A budget of bytes: takers wait for room, except for an item larger than the whole budget."""

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
        """Give room back."""
        async with self._freed:
            self._used -= size
            self._freed.notify_all()
