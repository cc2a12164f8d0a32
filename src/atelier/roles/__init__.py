"""The processes of Atelier, a module each.

What they share is here: set up the logs, turn signals into a stop event, return an exit code.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import itertools
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from atelier.errors import AtelierError
from atelier.events.bus import Bus
from atelier.observe import logs, tracing
from atelier.observe.exposition import count_errors
from atelier.observe.metrics import RECEIVED, Few
from atelier.settings import Settings
from atelier.startup.openfiles import raise_open_files

types = Few()  # of events: other programs on the bus may invent new ones

log = logging.getLogger("atelier")


def run_role(
    name: str, settings: Settings, run: Callable[[Settings, asyncio.Event], Awaitable[None]]
) -> int:
    """Run `run(settings, stop)` in this process until SIGTERM or SIGINT set `stop`.

    Returns the exit code.
    """
    raise_open_files()
    logs.setup(name, settings)
    count_errors()
    tracing.start(name, settings)
    import uvloop

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_signal(name, settings, run))
    finally:
        tracing.stop()
    return 0


async def _until_signal(
    name: str, settings: Settings, run: Callable[[Settings, asyncio.Event], Awaitable[None]]
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    freeze()
    log.info("%s is up", name)
    await run(settings, stop)
    log.info("%s is down", name)


async def log_events(bus: Bus, service: str, patterns: Sequence[str], stop: asyncio.Event) -> None:
    """Log every event that matches a pattern until `stop`.

    Each event goes to one of a service's processes.
    """
    role = logging.getLogger(f"atelier.{service}")
    async for delivery in bus.subscribe(service, patterns, stop=stop):
        event = delivery.event
        RECEIVED.labels(service, types(event.type)).inc()
        with tracing.span(f"handle {event.type}", "CONSUMER", parent=event.traceparent):
            role.info("event %s %s #%d %s", event.type, event.subject, event.sequence, event.id)
        try:
            await delivery.ack()
        except AtelierError:
            role.warning("event %s not acknowledged; it will come again", event.id)


def freeze() -> None:
    """Exempt the objects made at start from garbage collection, and make collections rare.

    Their pauses were most of the p99.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@contextmanager
def worker_name(role: str, settings: Settings) -> Iterator[str]:
    """Return this worker's name on its queue.

    It is made of host, role and the lowest number that no living worker here has. A worker that
    takes a dead one's number takes its name too, and with it at once the jobs it held. A socket in
    Linux's abstract namespace holds the number; the kernel frees it with the process.
    """
    host = socket.gethostname()
    if sys.platform != "linux":
        yield f"{host}-{role}-{os.getpid()}"
        return
    instance = hashlib.sha256(str(settings.data.absolute()).encode()).hexdigest()[:16]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as holder:
        for number in itertools.count():
            with suppress(OSError):
                holder.bind(f"\0atelier-{instance}-{role}-{number}")
                break
        yield f"{host}-{role}-{number}"
