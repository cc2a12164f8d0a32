"""`atelier jobs`: shows the queues and their dead letters; resends or purges dead letters."""

from __future__ import annotations

import asyncio

from rich.console import Console
from rich.table import Table

from atelier import bootstrap
from atelier.queue import Queue
from atelier.settings import Settings

FILES = "files"  # Celery's queue: its failures are rows, so it has no dead letters
SHOWN = 50  # dead letters listed per queue


def main(settings: Settings, name: str | None, *, resend: bool, purge: bool) -> int:
    """Show, resend or purge; return 2 for a queue that does not exist."""
    return asyncio.run(_run(settings, name, resend=resend, purge=purge))


async def _run(settings: Settings, name: str | None, *, resend: bool, purge: bool) -> int:
    console = Console(highlight=False)
    redis = bootstrap.open_redis(settings)
    try:
        queues = {
            q.name: q
            for q in (
                *bootstrap.process_lanes(settings, redis).queues,
                bootstrap.store_queue(settings, redis),
            )
        }
        known = [*queues] if resend or purge else [*queues, FILES]
        if name is not None and name not in known:
            kind = " with dead letters" if FILES not in known else ""
            console.print(f"no queue{kind} is called {name!r}; there are {', '.join(known)}")
            return 2
        for queue in [queue for queue in queues.values() if name in {None, queue.name}]:
            if resend:
                console.print(f"{queue.name}: {await queue.resend_all()} sent again")
            elif purge:
                console.print(f"{queue.name}: {await queue.purge()} thrown away")
            else:
                await _show(queue, console)
        if FILES in known and name in {None, FILES}:
            await _show_files(settings, console)
    finally:
        await redis.aclose()
    return 0


async def _show(queue: Queue, console: Console) -> None:
    oldest = await queue.oldest_time()
    since = f", oldest since {oldest:%Y-%m-%d %H:%M:%S} UTC" if oldest else ""
    console.print(f"{queue.name}: {await queue.depth()} waiting{since}")
    letters = await queue.dead(SHOWN)
    if letters:
        table = Table("id", "died", "deliveries", "reason")
        for letter in letters:
            table.add_row(
                letter.id,
                f"{letter.died_at:%Y-%m-%d %H:%M:%S}",
                str(letter.deliveries),
                letter.reason,
            )
        console.print(table)


async def _show_files(settings: Settings, console: Console) -> None:
    count = await asyncio.to_thread(waiting_files, settings)
    if count is not None:
        console.print(f"{FILES}: {count} waiting")


def waiting_files(settings: Settings) -> int | None:
    """Jobs for files that no worker has taken yet; None where Celery is not installed.

    Raises what brokers raise.
    """
    try:
        from atelier.files import celery_app
    except ImportError:
        return None
    return celery_app.waiting(settings)
