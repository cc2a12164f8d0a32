"""Celery's consumer without what workers tell each other: nobody here listens."""

from __future__ import annotations

from typing import Any

from celery.worker import consumer

# Gossip and mingle hold a subscription at the broker. When that is lost first, Celery closes the connection in an order
# in which Kombu's Redis transport raises AttributeError, which ends the worker; and a start waits a second for answers.
ALONE = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True}


class Consumer(consumer.Consumer):
    """Takes jobs, and nothing else."""

    def __init__(self, *args: Any, worker_options: dict[str, Any] | None = None, **options: Any) -> None:  # noqa: ANN401 - Celery's own
        super().__init__(*args, worker_options=(worker_options or {}) | ALONE, **options)
