"""The Celery job: inspect one file and record the outcome.

It is offered after the commit, and again if a job was lost.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from atelier.errors import Invalid, NotFound, Unavailable, Unsupported
from atelier.files import django_setup, service, turns
from atelier.files.celery_app import QUEUE, app, queue
from atelier.files.inspectors import Inspection
from atelier.files.models import File, Status
from atelier.observe import tracing
from atelier.observe.metrics import QUEUE_JOBS
from atelier.sandbox.failures import DecodeFailed, attempts

NAME = "atelier.files.process"
AGAIN = "again"  # a header of jobs that the reconciler sends: they may have been sent before
REOFFER_BATCH = 500  # rows per round: a wiped broker refills at this pace, without one long lock

log = logging.getLogger(__name__)


@app.task(name=NAME, Request="atelier.files.requests:Counted")
def process(file_id: int, version: int) -> str:
    """Process one file at one version; returns the outcome, which only metrics read."""
    from atelier.files.inspector import inspect

    request = process.request
    again = bool(request.get(AGAIN) or (request.delivery_info or {}).get("redelivered"))
    with tracing.span("inspect file", "CONSUMER", parent=request.get("traceparent")):
        return run(file_id, version, inspect, again=again)


def run(
    file_id: int, version: int, inspect: Callable[[File], Inspection], *, again: bool = True
) -> str:
    """`process` with a given way of inspecting.

    Where it is another owner's turn, it is that owner's file that is processed.

    A failure that another attempt may cure is left to the reconciler.

    Returns the file's kind and the outcome: `image processed`, `pdf failed`, `text retried`,
    `- skipped`. The log has a line for each outcome, with the file's id.
    """
    began = time.perf_counter()
    file, later = turns.take(file_id, version, again=again)
    if later:
        service.put_back(file_id, version)
        send(file_id, version, again=again)
    outcome = "skipped" if file is None else _process(file, inspect)
    kind = "-" if file is None else file.kind
    file_id = file_id if file is None else file.pk
    if outcome == "processed":
        log.info("file %d processed: %s in %.2f s", file_id, kind, time.perf_counter() - began)
    elif outcome == "skipped":
        log.info("file %d skipped: it is gone, changed or processed already", file_id)
    return f"{kind} {outcome}"


def _process(file: File, inspect: Callable[[File], Inspection]) -> str:
    limit = django_setup.context().settings.job_attempts
    if file.attempts > limit:
        return _fail(file, "not-processed", f"Given up after {limit} attempts that did not end.")
    try:
        found = inspect(file)
    except NotFound:
        return _fail(file, "content-missing", "The content is gone.")
    except Unavailable:
        said = "file %d: nothing can look at it right now; it will be offered again"
        log.warning(said, file.pk, exc_info=True)
        service.put_back(file.pk, file.version)
        return "put-off"
    except (DecodeFailed, Invalid, Unsupported) as error:
        reason, detail = service.failure(error)
        if not isinstance(error, DecodeFailed) or file.attempts >= attempts(error, limit):
            return _fail(file, reason, detail)
        said = "file %d: attempt %d failed, again soon: %s: %s"
        log.warning(said, file.pk, file.attempts, reason, detail)
        service.put_back(file.pk, file.version)
        offer(file)
        return "retried"
    return "processed" if service.finish(file.pk, file.version, found) else "skipped"


def _fail(file: File, reason: str, detail: str) -> str:
    """Record and log that a file cannot be processed; returns the outcome."""
    if not service.fail(file.pk, file.version, reason, detail):
        return "skipped"
    log.warning("file %d failed: %s: %s", file.pk, reason, detail)
    return "failed"


def offer(file: File, *, again: bool = False) -> bool:
    """Send the job of a file whose row is committed, perhaps `again`.

    False if the broker does not take it; the row still says that the file is queued.
    """
    return send(file.pk, file.version, again=again)


def send(file_id: int, version: int, *, again: bool) -> bool:
    """`offer` for a file by its id."""
    try:
        traceparent = tracing.traceparent()
        headers: dict[str, Any] = {"traceparent": traceparent} if traceparent else {}
        headers |= {AGAIN: True} if again else {}
        process.apply_async(
            (file_id, version), queue=QUEUE, ignore_result=True, retry=False, headers=headers
        )
    except Exception as error:
        log.warning(
            "file %s: the broker did not take its job; it will be offered again: %r",
            file_id,
            error,
        )
        return False
    return True


def reoffer() -> int:
    """Send again the jobs that the broker has lost; returns how many.

    The broker knows only how many jobs wait. Of the unfinished rows that were offered longer ago
    than the limit, as many as jobs wait may simply be in the queue; the others, the oldest, have
    lost their jobs or are being processed.
    """
    try:
        jobs = waiting()
        QUEUE_JOBS.labels("files").set(jobs)
        files = _lost(jobs)
        return sum([offer(file, again=True) for file in files])
    finally:
        django_setup.disconnect()


def _lost(waiting_jobs: int) -> list[File]:
    before = Now() - timedelta(seconds=django_setup.context().settings.reconcile_seconds)
    stale = File.objects.filter(status=Status.QUEUED, offered_at__lt=before)
    count = min(REOFFER_BATCH, stale.count() - waiting_jobs)
    if count <= 0:
        return []
    with transaction.atomic():
        files = list(stale.order_by("offered_at").select_for_update(skip_locked=True)[:count])
        # Before the jobs are sent, so that no other reconciler sends them too.
        File.objects.filter(pk__in=[file.pk for file in files]).update(offered_at=Now())
    return files


def waiting() -> int:
    """Jobs that wait at the broker. Raises kombu's OperationalError if it is away."""
    with app.connection_for_write() as connection:
        connection.ensure_connection(
            max_retries=1, interval_start=0
        )  # a broker that needs longer is left to the next round
        declared = queue(django_setup.context().settings)(
            connection.default_channel
        ).queue_declare()
        return int(declared.message_count)
