"""`atelier renditions`: makes of stored pictures what new settings ask for.

It queues them anew in the background of everybody else, and never so many that uploads would be
refused. A run that was ended goes on: what lacks nothing is not queued again, and a run for all
pictures keeps its position in the data folder.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from atelier import bootstrap, disk
from atelier.cache import Cache
from atelier.database import Database
from atelier.errors import AtelierError, Conflict
from atelier.events.messages import encode
from atelier.images import jobs, renewal
from atelier.queue import Lanes
from atelier.settings import Settings

INTERRUPTED = 130
AHEAD = 256  # jobs that wait at once: some seconds of work
LOOK_SECONDS = 0.5  # between two looks at a queue that has enough
BAR_SECONDS = 0.25  # between two looks at the bar
LINE_SECONDS = 10.0  # between two lines where there is no terminal
POSITION = "renditions.json"
LOCK = "renditions.lock"


@dataclass
class Tally:
    """The numbers so far."""

    found: int = 0
    looked: int = 0
    queued: int = 0
    waiting: bool = False

    def __str__(self) -> str:
        rest = "; waiting for room in the queue" if self.waiting else ""
        return f"{self.looked:,} of {self.found:,} pictures seen, {self.queued:,} queued{rest}"


def main(
    settings: Settings, *, everything: bool, per_second: float | None = None, as_json: bool = False
) -> int:
    """Queue what is due and print the numbers; 0, or 130 when it was interrupted.

    Raises Conflict while another run is under way, and Unavailable without database or Redis.
    """
    tally = Tally()
    try:
        asyncio.run(_run(settings, tally, everything=everything, per_second=per_second))
        ended = 0
    except KeyboardInterrupt:
        ended = INTERRUPTED
    if as_json:
        numbers = {"found": tally.found, "looked": tally.looked, "queued": tally.queued}
        numbers |= {"interrupted": bool(ended)}
        sys.stdout.write(orjson.dumps(numbers).decode() + "\n")
    else:
        tally.waiting = False
        more = "the same command goes on from here" if ended else "they are made in the background"
        sys.stdout.write(f"{tally}; {more}\n")
    return ended


async def _run(
    settings: Settings, tally: Tally, *, everything: bool, per_second: float | None
) -> None:
    database = Database(bootstrap.database_url(settings), connections=1)
    redis = bootstrap.open_redis(settings)
    cache = Cache(redis)
    try:
        with _alone(settings.data / LOCK):
            async with _shown(tally):
                lanes = bootstrap.process_lanes(settings, redis)
                renewing = Renewing(settings, database, cache, lanes, tally, per_second)
                await renewing.run(everything=everything)
    finally:
        await cache.close()
        await redis.aclose()
        await database.close()


class Renewing:
    """One run over all pictures, newest first."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        cache: Cache,
        lanes: Lanes,
        tally: Tally,
        per_second: float | None = None,
    ) -> None:
        self._settings, self._tally = settings, tally
        self._database, self._cache, self._lanes = database, cache, lanes
        self._ahead = max(1, min(AHEAD, settings.queue_limit // 2))
        self._pause = 1 / per_second if per_second else 0.0
        self._next = 0.0

    async def run(self, *, everything: bool) -> None:
        """Queue every picture that lacks a rendition, or with `everything` each that is ready.

        Raises Unavailable.
        """
        position = Position(self._settings)
        before = position.read() if everything else renewal.BEFORE_ALL
        wanted = [] if everything else renewal.names(self._settings)
        self._tally.found = await renewal.count(self._database, before)
        try:
            while seen := await renewal.page(self._database, before, wanted):
                for picture in seen:
                    if picture.due:
                        await self._renew(picture.id, wanted)
                    self._tally.looked += 1
                    before = picture.id
                if everything:
                    position.write(before)
        except BaseException:
            if everything:
                position.write(before)
            raise
        if everything:
            position.clear()

    async def _renew(self, image_id: int, wanted: list[str]) -> None:
        await self._room()
        image = await renewal.renew(self._database, self._cache, image_id, wanted)
        if image is None:
            return
        self._tally.queued += 1
        # Should it not be taken, or should this end here, the reconciler offers it.
        with suppress(AtelierError):
            await self._lanes.bulk.send(encode(jobs.process_job(self._settings, image)))

    async def _room(self) -> None:
        """Wait until a job more keeps nobody waiting, and no sooner than the pace allows."""
        while await self._lanes.depth() >= self._ahead:
            self._tally.waiting = True
            await asyncio.sleep(LOOK_SECONDS)
        self._tally.waiting = False
        now = time.monotonic()
        if self._next > now:
            await asyncio.sleep(self._next - now)
        self._next = max(self._next, now) + self._pause


class Position:
    """How far a run for all pictures has come, under these settings: kept in the data folder."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.data / POSITION
        asked = settings.sizes, settings.caption_font, settings.caption_size
        self._asked = hashlib.sha256(orjson.dumps(asked)).hexdigest()

    def read(self) -> int:
        """The id below which pictures are still to be done; all, if settings have changed."""
        try:
            kept = orjson.loads(self._path.read_bytes())
            return int(kept["before"]) if kept["asked"] == self._asked else renewal.BEFORE_ALL
        except (FileNotFoundError, orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            return renewal.BEFORE_ALL

    def write(self, before: int) -> None:
        """Keep the position."""
        disk.replace(self._path, orjson.dumps({"asked": self._asked, "before": before}))

    def clear(self) -> None:
        """The run has come to its end: the next one begins anew."""
        disk.clear(self._path)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep a second run off the same data folder. Raises Conflict."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = disk.lock(path)
    except BlockingIOError:
        raise Conflict("Another `atelier renditions` is under way.") from None
    try:
        yield
    finally:
        os.close(descriptor)


@asynccontextmanager
async def _shown(tally: Tally) -> AsyncIterator[None]:
    """Show the numbers while it runs: a bar on a terminal, else a line now and then."""
    console = Console(stderr=True, highlight=False)
    showing = asyncio.ensure_future(_bar(tally, console) if console.is_terminal else _lines(tally))
    try:
        yield
    finally:
        showing.cancel()
        await asyncio.wait([showing])


async def _lines(tally: Tally) -> None:
    while True:
        await asyncio.sleep(LINE_SECONDS)
        sys.stderr.write(f"{tally}\n")
        sys.stderr.flush()


async def _bar(tally: Tally, console: Console) -> None:
    columns = (BarColumn(), TextColumn("{task.fields[text]}"))
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as progress:
        bar = progress.add_task("", total=None, text="")
        while True:
            total = tally.found or None
            progress.update(bar, completed=tally.looked, total=total, text=str(tally))
            progress.refresh()
            await asyncio.sleep(BAR_SECONDS)
