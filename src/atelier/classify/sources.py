"""Sources of pictures: the walk log while it grows, or the failures of an earlier round."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from atelier.classify.journal import failure_decoder
from atelier.classify.lines import Lines
from atelier.classify.outcomes import Entry, path_of
from atelier.classify.walklog import WalkLog


class Progress:
    """How many pictures the walk has found so far, and whether it has ended."""

    def __init__(self) -> None:
        self.count = 0
        self.finished = False
        self._stopped = False
        self._news = asyncio.Event()

    def tell(self, count: int, *, finished: bool = False) -> None:
        """Note that `count` pictures have been found."""
        self.count, self.finished = count, finished
        self._news.set()

    def stop(self) -> None:
        """Wake the reader for good: the run ends."""
        self._stopped = True
        self._news.set()

    async def beyond(self, count: int) -> bool:
        """Wait until more than `count` pictures are found; false if there will be none."""
        while self.count <= count and not self.finished and not self._stopped:
            self._news.clear()
            await self._news.wait()
        return self.count > count and not self._stopped


async def walked(path: Path, position: int, progress: Progress) -> AsyncIterator[Entry]:
    """The pictures of a walk log from a position (a number) on; waits for a walk in progress."""
    log = WalkLog(path)
    try:
        offset = 0
        while await progress.beyond(position):
            while (frame := log.frame(offset)) and position < progress.count:
                offset = frame.end
                if frame.first + frame.count > position:
                    for n, name in enumerate(log.paths(frame), frame.first):
                        if n >= position:
                            yield Entry(n, name, n + 1)
                    position = frame.first + frame.count
    finally:
        log.close()


async def failed(lines: Lines, position: int) -> AsyncIterator[Entry]:
    """The pictures that failed in an earlier round, from a position (in bytes) on."""
    for after, raw in lines.after(position):
        line = failure_decoder.decode(raw)
        yield Entry(line.n, path_of(line), after, line.kind)
