"""The Celery app and its one queue: on Redis, or on RabbitMQ if its URL is set."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from celery import Celery
from kombu.connection import Connection
from kombu.entity import Queue

from atelier import bootstrap
from atelier.broker import harden
from atelier.files import SETTINGS_MODULE

if TYPE_CHECKING:
    from atelier.settings import Settings

QUEUE = "atelier.files"
SOFT_SECONDS = (
    110  # beyond the decoder's own limit: to start a decoder, to read, a large text piece by piece
)
HARD_SECONDS = 15  # beyond the soft limit
# Above every time limit: after it Redis gives an unacknowledged job to another worker.
VISIBLE_SECONDS = 600
CONNECT_SECONDS = (
    2  # no upload waits longer for a broker that is away; the reconciler offers the job later
)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", SETTINGS_MODULE)
app = Celery("atelier.files", include=("atelier.files.jobs",), set_as_current=True)
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_connection_timeout=CONNECT_SECONDS,
    result_backend=None,  # results are in the row
    task_acks_late=True,
    task_default_queue=QUEUE,
    task_ignore_result=True,
    task_reject_on_worker_lost=True,
    worker_cancel_long_running_tasks_on_connection_loss=False,  # a second run changes nothing
    worker_proc_alive_timeout=60,  # seconds a child may take to start on a busy machine
    worker_enable_remote_control=False,  # no queues of its own at the broker
    worker_prefetch_multiplier=1,
    worker_send_task_events=False,
)
harden(app)


def configure(settings: Settings) -> None:
    """Point the app at the broker of these settings."""
    url = broker_url(settings)
    if app.conf.broker_url == url:
        return
    on_rabbit = settings.amqp_url is not None
    soft = settings.decode_seconds + SOFT_SECONDS
    app.conf.update(
        broker_url=url,
        broker_transport_options=RABBIT if on_rabbit else REDIS,
        task_queues=(queue(settings),),
        task_soft_time_limit=soft,
        task_time_limit=soft + HARD_SECONDS,
        worker_concurrency=settings.file_workers,
    )
    app._after_fork()
    vars(app).pop("amqp", None)  # and forget the queues of the former broker


REDIS: dict[str, Any] = {
    "visibility_timeout": VISIBLE_SECONDS,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
    "socket_timeout": 30,
    "socket_connect_timeout": CONNECT_SECONDS,
}
RABBIT: dict[str, Any] = {"confirm_publish": True, "connect_timeout": CONNECT_SECONDS}


def queue(settings: Settings) -> Queue:
    """The one queue: replicated on RabbitMQ."""
    arguments = {"x-queue-type": "quorum"} if settings.amqp_url is not None else None
    return Queue(QUEUE, routing_key=QUEUE, durable=True, queue_arguments=arguments)


def broker_url(settings: Settings) -> str:
    """The broker's URL in kombu's spelling."""
    if settings.amqp_url is not None:
        return settings.amqp_url.get_secret_value()
    parts = urlsplit(bootstrap.redis_url(settings))
    number = parse_qs(parts.query).get("db", ["0"])[0]
    if parts.scheme == "unix":
        credentials = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
        return f"redis+socket://{credentials}{quote(unquote(parts.path))}?virtual_host={number}"
    path = parts.path if parts.path.strip("/") else f"/{number}"
    return parts._replace(path=path, query="").geturl()


def ask(url: str) -> None:
    """Check that the broker answers.

    Raises kombu's OperationalError, or its transport's own error.
    """
    with Connection(url, connect_timeout=CONNECT_SECONDS) as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=CONNECT_SECONDS)


def waiting(settings: Settings) -> int:
    """The number of jobs that no worker has taken yet. Raises as `ask`."""
    with Connection(broker_url(settings), connect_timeout=CONNECT_SECONDS) as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=CONNECT_SECONDS)
        try:
            return int(connection.default_channel.queue_declare(QUEUE, passive=True).message_count)
        except connection.channel_errors:
            return 0  # not declared yet, or empty: Redis keeps no empty queue
