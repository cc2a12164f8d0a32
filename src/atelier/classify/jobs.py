"""The Celery task that runs a chunk. Outcomes are files, so a lost message loses no work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec
from celery import Celery, signals
from kombu.entity import Queue

from atelier.broker import harden
from atelier.classify.chunks import Chunk, do

QUEUE = "atelier.classify"
TASK = "atelier.classify.chunk"

VISIBLE_SECONDS = 6 * 3600
"""Seconds until Redis gives an unacknowledged chunk to another worker; a chunk takes minutes."""

RETRY_SECONDS = 5
"""Seconds until a chunk that failed as a whole (a full disk, a missing mount) is retried."""

_log = logging.getLogger(__name__)


def make_app(broker: str) -> Celery:
    """The Celery application; chunks are acknowledged when done, one at a time per process."""
    app = Celery(QUEUE, broker=broker)
    harden(app)
    quorum = {"x-queue-type": "quorum"} if broker.startswith(("amqp", "pyamqp")) else None
    app.conf.update(
        task_queues=[
            Queue(  # type: ignore[no-untyped-call]
                QUEUE, routing_key=QUEUE, queue_arguments=quorum
            )
        ],
        task_default_queue=QUEUE,
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_serializer="json",
        accept_content=["json"],
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options={}
        if quorum
        else {"visibility_timeout": VISIBLE_SECONDS, "socket_timeout": 30},
    )
    if quorum:
        app.conf.broker_transport_options = {"confirm_publish": True}
    app.task(
        name=TASK, autoretry_for=(Exception,), max_retries=None, default_retry_delay=RETRY_SECONDS
    )(classify_chunk)
    return app


def classify_chunk(order: str) -> None:
    """Run one chunk, given as JSON."""
    chunk = msgspec.json.decode(order, type=Chunk)
    said = asyncio.run(do(chunk))
    _log.info("chunk %s: %s", chunk.name, said)


def sender(broker: str) -> Callable[[Chunk], None]:
    """A function that sends a chunk; it raises Celery's errors while the broker is away."""
    app = make_app(broker)

    def send(chunk: Chunk) -> None:
        order = msgspec.json.encode(chunk).decode()
        app.send_task(TASK, (order,), queue=QUEUE, retry=False)

    return send


def serve(broker: str, concurrency: int) -> None:
    """Run a Celery worker until it is told to stop."""
    signals.setup_logging.connect(_log_plainly, weak=False)
    make_app(broker).worker_main(
        ["worker", "--concurrency", str(concurrency), "--loglevel", "INFO", "-Q", QUEUE]
    )


def _log_plainly(**_: Any) -> None:
    """Keep our logging: Celery sets up its own unless this signal has a receiver."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
