"""`atelier blobs copy FROM TO`: copies a whole store, comparing digests, in flat memory.

May be killed at any time and started again. Knows no database: the store's mark says which
database the blobs belong to.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from atelier import bootstrap
from atelier.blobs import Blobs, Stat
from atelier.blobs.mark import UNFINISHED
from atelier.commands.backup.copies import digest_of, fetch
from atelier.errors import AtelierError, Conflict, Invalid, NotFound
from atelier.settings import Bucket, Settings, store_place
from atelier.up.engines.errors import from_os_error
from atelier.up.engines.process import lock_owner
from atelier.up.preflight import LOCK

WORKERS = 8  # blobs in transit at once
FAILURES = 100  # after which the copy gives up
PROGRESS_SECONDS = 5.0
MIB = 1024 * 1024


@dataclass
class Tally:
    """The numbers so far."""

    copied: int = 0
    skipped: int = 0
    size: int = 0
    failures: list[str] = field(default_factory=list)
    shown: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        counts = f"{self.copied} copied ({self.size / MIB:.1f} MiB), {self.skipped} there already"
        return f"{counts}, {len(self.failures)} failed"

    def show(self) -> None:
        """Print the numbers every few seconds."""
        if time.monotonic() - self.shown > PROGRESS_SECONDS:
            self.shown = time.monotonic()
            _say(str(self))


def copy(settings: Settings, source: str, target: str, *, final: bool = False) -> int:
    """Copy; 0 when every blob of `source` is in `target`, else 1.

    Only a `final` copy, for which nothing may write to `source`, leaves `target` marked as whole.

    Raises AtelierError when the copy cannot begin.
    """
    origin, goal = _place("FROM", source), _place("TO", target)
    if origin == goal:
        raise Invalid("FROM and TO are the same store")
    if _inside(goal, origin):
        raise Invalid("TO lies within FROM: the copies would be copied, too")
    if isinstance(origin, Path) and not origin.is_dir():
        raise NotFound(f"FROM: {origin} is not a folder")
    spool = goal / ".incoming" if isinstance(goal, Path) else settings.data / "incoming"
    try:
        spool.mkdir(0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise from_os_error(error, spool) from error
    stores = bootstrap.open_store(settings, origin), bootstrap.open_store(settings, goal)
    if final and (owner := lock_owner(settings.data / LOCK)):
        raise Conflict(f"Atelier runs here (process {owner}): stop it before the final copy")
    tally = asyncio.run(copy_all(*stores, spool, final=final))
    _say(str(tally))
    for failure in tally.failures:
        _say(f"  {failure}")
    if tally.failures:
        _say(f"{goal} is NOT complete: run this again")
    elif not final:
        _say("To use the copy, stop Atelier and run this again with --final.")
    return int(bool(tally.failures))


def _place(name: str, text: str) -> Path | Bucket:
    try:
        place = store_place(text)
    except ValueError as error:
        raise Invalid(f"{name} {error}") from error
    return place.resolve() if isinstance(place, Path) else place


def _inside(inner: Path | Bucket, outer: Path | Bucket) -> bool:
    if isinstance(inner, Path) or isinstance(outer, Path):
        return isinstance(inner, Path) and isinstance(outer, Path) and inner.is_relative_to(outer)
    return inner.name == outer.name and f"{inner.prefix}/".startswith(
        f"{outer.prefix}/" if outer.prefix else ""
    )


async def copy_all(source: Blobs, target: Blobs, spool: Path, *, final: bool = False) -> Tally:
    """Copy every blob, and in a `final` copy the mark last: without it no role takes the target.

    Raises Conflict when the target belongs to another database.
    """
    await target.probe()
    mark = await source.mark() or b""
    if await target.mark() not in {None, b"", mark, UNFINISHED + mark}:
        raise Conflict("TO holds the blobs of another database")
    await target.set_mark(UNFINISHED + mark)
    tally = Tally()
    waiting: asyncio.Queue[Stat | None] = asyncio.Queue(WORKERS)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(WORKERS):
            tasks.create_task(_work(source, target, spool, waiting, tally))
        await _list(source, waiting, tally)
        for _ in range(WORKERS):
            await waiting.put(None)
    if final and not tally.failures:
        await target.set_mark(mark)
    return tally


async def _list(source: Blobs, waiting: asyncio.Queue[Stat | None], tally: Tally) -> None:
    try:
        async for stat in source.list():
            await waiting.put(stat)
            if len(tally.failures) >= FAILURES:
                tally.failures.append("... and no more was tried")
                break
    except AtelierError as error:
        tally.failures.append(f"the list of FROM: {error.detail or error.title}")


async def _work(
    source: Blobs, target: Blobs, spool: Path, waiting: asyncio.Queue[Stat | None], tally: Tally
) -> None:
    while (stat := await waiting.get()) is not None:
        try:
            await _copy_one(source, target, spool, stat, tally)
        except AtelierError as error:
            tally.failures.append(f"{stat.key}: {error.detail or error.title}")
        except OSError as error:
            tally.failures.append(f"{stat.key}: {error}")
        tally.show()


async def _copy_one(source: Blobs, target: Blobs, spool: Path, stat: Stat, tally: Tally) -> None:
    there = await _is_there(target, stat)
    try:
        read = (
            await digest_of(source, stat.key)
            if there
            else (await fetch(source, target, spool, stat.key))[0]
        )
    except NotFound:
        return  # deleted since it was listed
    if await digest_of(target, stat.key) != read:
        raise Invalid("the copy has other bytes; remove it from TO")
    if there:
        tally.skipped += 1
    else:
        tally.copied += 1
        tally.size += stat.size


async def _is_there(target: Blobs, stat: Stat) -> bool:
    """Return whether there is a blob of this key and size.

    Raises Invalid when there is one of another size.
    """
    try:
        if (await target.stat(stat.key)).size != stat.size:
            raise Invalid("there is another blob of this key; remove it from TO")
    except NotFound:
        return False
    return True


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
