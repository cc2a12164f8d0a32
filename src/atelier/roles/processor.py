"""The image processor: takes `process` jobs, renders in a sandbox, sends `store` jobs.

Logs every `image.*` event. Knows no database: results go to the archiver's queue.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import msgspec

from atelier import bootstrap
from atelier.blobs import Blobs
from atelier.errors import Invalid, NotFound, Unavailable, Unsupported
from atelier.events import messages
from atelier.events.messages import Outcome, ProcessImage
from atelier.imaging.characters import needs_shaping
from atelier.imaging.coverage import coverage
from atelier.imaging.fontfiles import FontFile
from atelier.imaging.recipe import Limits, Recipe, Rendition
from atelier.observe import health, systemd, tracing
from atelier.observe.metrics import SANDBOX_ENDS
from atelier.queue import Job, Queue, QueueFull, Reject
from atelier.roles import log_events, run_role, worker_name
from atelier.sandbox.failures import attempts
from atelier.sandbox.sandbox import DecodeFailed, Sandbox
from atelier.settings import Settings
from atelier.startup.folders import require_blobs
from atelier.startup.fonts import require_font, unshaped

log = logging.getLogger("atelier.processor")

SERVICE = "processor"
FULL_PAUSE = 0.05  # seconds between tries while the archiver's queue is full
FULL_PATIENCE = 30.0  # seconds of such tries before the job is put off
NAMED_MOST = 10  # characters without a glyph that one log line names
TARGET = "atelier.imaging.renditions:render"
WARM_UP = "atelier.imaging.warm:warm_up"


def main(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT.

    Raises SettingsError for a font or a folder that cannot be used.
    """
    font = require_font(settings)
    require_blobs(settings, write=False)
    return run_role(SERVICE, settings, partial(run, font=font))


async def run(settings: Settings, stop: asyncio.Event, font: FontFile | None = None) -> None:
    """Process pictures and log events until `stop`; what was begun is finished first."""
    font = font or require_font(settings)
    redis = bootstrap.open_redis(settings)
    bus = bootstrap.open_bus(settings, redis)
    log.info("captions are drawn in %s", font)
    if flaw := unshaped():
        log.warning("%s", flaw)
    sandbox = Sandbox(
        TARGET,
        list[Rendition],
        children=settings.processor_workers,
        seconds=settings.decode_seconds,
        memory=settings.decode_memory,
        warm_up=WARM_UP,
        warm_up_args=(str(font.path), font.index),
        on_end=lambda reason: SANDBOX_ENDS.labels(reason).inc(),
    )
    blobs = bootstrap.open_blobs(settings)
    checks: dict[str, health.Check] = {
        "redis": redis.ping,
        "bus": bus.ping,
        "blobs": partial(require_store, blobs),
    }
    store = bootstrap.store_queue(settings, redis)
    processor = Processor(settings, blobs, sandbox, store, Captions(settings, font))
    lanes = bootstrap.process_lanes(settings, redis)
    try:
        with worker_name(SERVICE, settings) as name:
            async with health.listening(settings, checks), asyncio.TaskGroup() as tasks:
                systemd.ready()
                tasks.create_task(log_events(bus, SERVICE, bootstrap.SUBSCRIPTIONS[SERVICE], stop))
                # The sandboxes serve in the order of the calls: where both queues have jobs, each
                # gets half of them, and where one has, it gets all.
                for queue in lanes.queues:
                    tasks.create_task(
                        queue.consume(
                            processor.process,
                            consumer=name,
                            concurrency=settings.processor_workers,
                            on_dead=processor.give_up,
                            stop=stop,
                        )
                    )
    finally:
        await sandbox.aclose()
        await bus.close()
        await redis.aclose()


async def require_store(blobs: Blobs) -> None:
    """Raise Unavailable for a store without a mark.

    Every role that writes marks its store first, so an unmarked one is a folder whose volume is
    not mounted. Every picture in it would be taken for a deleted one.
    """
    if not await blobs.mark():
        raise Unavailable("the blob store has no mark: is the volume mounted?")


class Processor:
    """Renders jobs, one at a time per sandbox child."""

    def __init__(
        self,
        settings: Settings,
        blobs: Blobs,
        sandbox: Sandbox[list[Rendition]],
        store: Queue,
        captions: Captions,
    ) -> None:
        self._attempts = settings.job_attempts
        self._captions = captions
        self._limits = Limits(pixels=settings.pixel_limit)
        self._blobs = blobs
        self._sandbox = sandbox
        self._store = store

    async def process(self, job: Job) -> None:
        """Render a picture and send the outcome.

        Raises errors that another attempt may overcome.
        """
        message = _read(job)
        with tracing.span(
            "process",
            "CONSUMER",
            parent=message.traceparent,
            attributes=_about(message),
        ):
            await self._process(job, message)

    async def _process(self, job: Job, message: ProcessImage) -> None:
        try:
            outcome = await self._render(message)
        except DecodeFailed as failure:
            if job.deliveries < attempts(failure, self._attempts):
                raise
            outcome = _rejected(message, failure.slug, failure.detail)
        if outcome is not None:
            await self._send(outcome)

    async def give_up(self, job: Job, reason: str) -> None:
        """Report a picture whose attempts are used up, so that its owner learns the reason."""
        try:
            message = _read(job)
        except Reject:
            return
        log.error("%s is given up: %s", messages.subject(message), reason)
        detail = f"it could not be processed in {self._attempts} attempts"
        await self._send(_rejected(message, "not-processed", detail))

    async def _render(self, message: ProcessImage) -> Outcome | None:
        try:
            picture = (
                message.picture
                if message.picture is not None
                else await self._blobs.get(message.blob)
            )
        except NotFound:
            await require_store(self._blobs)
            return None  # deleted since: there is no row to report to
        try:
            recipe = self._captions.recipe(message.recipe)
            with tracing.span("render"):
                renditions = await self._sandbox.call(recipe, picture, self._limits)
        except (Invalid, Unsupported) as refusal:
            return _rejected(message, refusal.slug, refusal.detail)
        for flaw in self._captions.flaws(recipe.caption):
            log.warning("%s: %s", messages.subject(message), flaw)
        return messages.StoreImage(
            message.image_id,
            message.version,
            message.description,
            message.received_at,
            tuple(renditions),
            task_id=message.task_id,
        )

    async def _send(self, outcome: Outcome) -> None:
        outcome = msgspec.structs.replace(outcome, traceparent=tracing.traceparent())
        body, patience = messages.encode(outcome), FULL_PATIENCE
        while True:
            try:
                await self._store.send(body)
            except QueueFull:
                # Wait for the archiver and take no job meanwhile: put off, this one would be
                # rendered twice.
                patience -= FULL_PAUSE
                if patience <= 0:
                    raise
                await asyncio.sleep(FULL_PAUSE)
            else:
                return


class Captions:
    """Decides how this processor draws captions, whatever the settings of the API were."""

    def __init__(self, settings: Settings, font: FontFile) -> None:
        self._font = font
        self._asked = settings.caption_font
        self._size = settings.caption_size if "caption_size" in settings.model_fields_set else None
        self._coverage = coverage(self._font.path, self._font.index)
        self._shaped = unshaped() is None
        self._told: set[str] = set()

    def recipe(self, asked: Recipe) -> Recipe:
        """Return the recipe with this processor's font and size.

        The sandbox can open no other font, not even that of a job from before the setting changed.
        """
        theirs = asked.caption_font
        if asked.caption and theirs not in {None, self._asked, *self._told}:
            self._told.add(str(theirs))
            log.warning("the API's caption_font is %s; captions are in %s", theirs, self._font)
        size = self._size or asked.caption_size
        path, index = str(self._font.path), self._font.index
        return replace(asked, caption_font=path, caption_index=index, caption_size=size)

    def flaws(self, caption: str) -> Iterator[str]:
        """Describe the characters of a caption that will be missing."""
        if boxes := self._coverage.lacking(caption):
            yield f"the font of captions lacks {_named(boxes)}, drawn as boxes"
        if not self._shaped and needs_shaping(caption):
            yield "its caption is drawn letter by letter, left to right: libfribidi is missing"


def _named(characters: list[str]) -> str:
    named = ", ".join(f"{each} (U+{ord(each):04X})" for each in characters[:NAMED_MOST])
    more = len(characters) - NAMED_MOST
    return f"{named} and {more} more" if more > 0 else named


def _about(message: ProcessImage) -> dict[str, int]:
    if message.task_id is not None:
        return {"task.id": message.task_id}
    return {"image.id": message.image_id}


def _rejected(message: ProcessImage, reason: str, detail: str) -> messages.RejectImage:
    return messages.RejectImage(
        message.image_id, message.version, reason, detail, task_id=message.task_id
    )


def _read(job: Job) -> ProcessImage:
    try:
        return messages.decode_process(job.body)
    except msgspec.DecodeError as error:
        raise Reject(f"malformed: {error}") from error
