"""`atelier relay`: sends events to the bus, and runs the periodic work.

It offers lost jobs again and removes blobs that nothing refers to.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial

from atelier import bootstrap
from atelier.accounts import families
from atelier.blobs import Blobs, garbage, ownership
from atelier.database import Database
from atelier.events import outbox, relay
from atelier.events.relay import Periodic
from atelier.files import django_setup
from atelier.http import idempotency_keys
from atelier.images import jobs
from atelier.observe import health, systemd
from atelier.observe.metrics import OFFERS, RELAY
from atelier.queue import Lanes, Queue
from atelier.roles import backlog, run_role
from atelier.roles.store import REFERENCED, owning
from atelier.settings import Settings
from atelier.startup.folders import require_blobs
from atelier.tasks import handout, views
from atelier.trash import service as trash

SOON = 1.0  # seconds: for work with a promised time
OFTEN = 5.0  # seconds: for work that users wait for
EVERY_MINUTE = 60.0
HOURLY = 3600.0
UNFINISHED = timedelta(hours=1)  # since the last write to an upload: its client has gone


def main(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT. Raises WrongStore and SettingsError."""
    require_blobs(settings)
    return run_role("relay", settings, owning(run))


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Send events and run the periodic work until `stop`."""
    await asyncio.to_thread(django_setup.configure, settings)
    redis = bootstrap.open_redis(settings)
    database = Database(bootstrap.database_url(settings))
    bus, blobs = bootstrap.open_bus(settings, redis), bootstrap.open_blobs(settings)
    process, store = (
        bootstrap.process_lanes(settings, redis),
        bootstrap.store_queue(settings, redis),
    )
    checks: dict[str, health.Check] = {
        "database": database.ping,
        "redis": redis.ping,
        "bus": bus.ping,
        "blobs": blobs.probe,
    }
    try:
        work = periodics(settings, database, blobs, process, store)
        measure = partial(backlog.measure, database, (*process.queues, store), bus)
        async with health.listening(settings, checks, registries=(RELAY,), before=measure):
            systemd.ready()
            await relay.run(database.url, bus, work, stop, services=bootstrap.SUBSCRIPTIONS)
    finally:
        await bus.close()
        await database.close()
        await redis.aclose()


def periodics(
    settings: Settings, database: Database, blobs: Blobs, process: Lanes, store: Queue
) -> tuple[Periodic, ...]:
    """The periodic work."""

    async def offer_lost_images() -> None:
        async with database.session() as session:
            OFFERS.labels("image").inc(await jobs.reoffer(session, settings, process, store))

    async def offer_lost_views() -> None:
        seconds = settings.reconcile_seconds
        OFFERS.labels("view").inc(await views.reoffer(database, seconds, process, store))

    async def offer_lost_files() -> None:
        from atelier.files import jobs as files  # its models exist once Django is set up

        OFFERS.labels("file").inc(await asyncio.to_thread(files.reoffer))

    async def collect_garbage() -> None:
        await ownership.claim(database, blobs, REFERENCED)
        await garbage.collect(database, blobs)

    async def empty_trash() -> None:
        await trash.purge_due(database, settings.trash_days)

    async def prune_outbox() -> None:
        await outbox.prune(database, timedelta(days=settings.outbox_retention_days))

    return (
        Periodic(
            "offer lost files again",
            min(OFTEN, settings.reconcile_seconds),
            offer_lost_files,
        ),
        Periodic(
            "offer lost images again", min(OFTEN, settings.reconcile_seconds), offer_lost_images
        ),
        Periodic(
            "offer lost views again", min(OFTEN, settings.reconcile_seconds), offer_lost_views
        ),
        Periodic("free tasks whose lease ran out", SOON, partial(handout.expire, database)),
        Periodic("collect garbage", OFTEN, collect_garbage),
        Periodic("purge the trash", EVERY_MINUTE, empty_trash),
        Periodic("sweep unfinished files", HOURLY, partial(blobs.sweep_temporary, UNFINISHED)),
        Periodic("prune the outbox", HOURLY, prune_outbox),
        Periodic(
            "purge idempotency keys",
            HOURLY,
            partial(idempotency_keys.purge, database, settings.idempotency_hours),
        ),
        Periodic("purge sessions", HOURLY, partial(families.purge, database)),
    )
