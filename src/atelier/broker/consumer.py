"""Celery's consumer without messages between workers, and without queues for delayed jobs."""

from __future__ import annotations

from typing import Any

from celery.worker import consumer

# Gossip and mingle hold a subscription at the broker. When it is lost first, Celery closes the
# connection in an order in which Kombu's Redis transport raises AttributeError, which ends the
# worker; and each start waits a second for answers.
ALONE = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True}

# For quorum queues Celery declares 28 queues and as many exchanges, for delayed jobs. None of ours
# would come through them: Celery sends such a job by a topic exchange, and ours are direct.
STEPS = consumer.Consumer.Blueprint.default_steps
DELAYED_DELIVERY = "celery.worker.consumer.delayed_delivery:DelayedDelivery"


class Consumer(consumer.Consumer):
    """Takes jobs, and nothing else."""

    class Blueprint(consumer.Consumer.Blueprint):
        """The steps of Celery's consumer without that one."""

        default_steps = tuple(step for step in STEPS if step != DELAYED_DELIVERY)

    def __init__(
        self, *args: Any, worker_options: dict[str, Any] | None = None, **options: Any
    ) -> None:
        super().__init__(*args, worker_options=(worker_options or {}) | ALONE, **options)
