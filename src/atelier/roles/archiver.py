"""The archiver: takes `store` jobs, writes files, then rows and events.

It acknowledges jobs after the commit.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec

from atelier import bootstrap
from atelier.blobs import Blobs
from atelier.cache import Cache
from atelier.database import Database
from atelier.events import messages
from atelier.events.messages import Outcome
from atelier.images import archive
from atelier.observe import health, systemd, tracing
from atelier.queue import Job
from atelier.roles import run_role, worker_name
from atelier.roles.store import owning
from atelier.settings import Settings
from atelier.startup.folders import require_blobs
from atelier.tasks import views

log = logging.getLogger("atelier.archiver")

NOT_STORED = "its renditions could not be stored"
BATCH = 16  # pictures that share one transaction when they wait together


def main(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT. Raises WrongStore and SettingsError."""
    require_blobs(settings)
    return run_role("archiver", settings, owning(run))


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Store pictures until `stop`; current work is finished first."""
    redis = bootstrap.open_redis(settings)
    database, cache = Database(bootstrap.database_url(settings)), Cache(redis)
    blobs = bootstrap.open_blobs(settings)
    archiver = Archiver(database, blobs, cache)
    checks: dict[str, health.Check] = {
        "database": database.ping,
        "redis": redis.ping,
        "blobs": blobs.probe,
    }
    queue = bootstrap.store_queue(settings, redis)
    try:
        with worker_name("archiver", settings) as name:
            async with health.listening(settings, checks):
                systemd.ready()
                await queue.consume_batches(
                    archiver.store, consumer=name, batch=BATCH, on_dead=archiver.give_up, stop=stop
                )
    finally:
        await cache.close()
        await database.close()
        await redis.aclose()


class Archiver:
    """Stores the renditions that the image processor made."""

    def __init__(self, database: Database, blobs: Blobs, cache: Cache) -> None:
        self._database = database
        self._blobs = blobs
        self._cache = cache

    async def store(self, jobs: list[Job]) -> None:
        """Store a batch in one transaction, and another for views of tasks.

        When that fails, the queue delivers its jobs one by one.
        """
        outcomes = [outcome for job in jobs if (outcome := _read(job)) is not None]
        spans = [tracing.begin("store", "CONSUMER", outcome.traceparent) for outcome in outcomes]
        traced = [
            msgspec.structs.replace(outcome, traceparent=parent)
            for outcome, (_, parent) in zip(outcomes, spans, strict=True)
        ]
        try:
            await self._store(traced)
        finally:
            tracing.end(*(span for span, _ in spans))

    async def give_up(self, job: Job, reason: str) -> None:
        """Mark the picture of a job whose attempts are used up as failed."""
        outcome = _read(job)
        if outcome is not None:
            log.error("%s is given up: %s", messages.subject(outcome), reason)
            failure = messages.RejectImage(
                outcome.image_id,
                outcome.version,
                "not-stored",
                NOT_STORED,
                task_id=outcome.task_id,
            )
            await self._store([failure])

    async def _store(self, outcomes: list[Outcome]) -> None:
        of_images = [outcome for outcome in outcomes if outcome.task_id is None]
        of_tasks = [outcome for outcome in outcomes if outcome.task_id is not None]
        if of_images:
            await archive.store(self._database, self._blobs, self._cache, of_images)
        if of_tasks:
            await views.store(self._database, self._blobs, of_tasks)


def _read(job: Job) -> Outcome | None:
    try:
        return messages.decode_outcome(job.body)
    except msgspec.DecodeError:
        log.exception("job %s is malformed and dropped", job.id)
        return None
