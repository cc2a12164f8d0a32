"""Celery's consumer without what workers tell each other, and without queues for delayed jobs."""

from __future__ import annotations

from typing import Any

from celery.worker import consumer

# Gossip and mingle hold a subscription at the broker. When that is lost first, Celery closes the
# connection in an order in which Kombu's Redis transport raises AttributeError, which ends the
# worker; and a start waits a second for answers.
ALONE = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True}

# For quorum queues it declares 28 queues and as many exchanges, for jobs that shall begin later.
# None would come through them: Celery sends one there by a topic exchange, and ours are direct.
STEPS = consumer.Consumer.Blueprint.default_steps
DELAYED_DELIVERY = "celery.worker.consumer.delayed_delivery:DelayedDelivery"


class Consumer(consumer.Consumer):
    """Takes jobs, and nothing else."""

    class Blueprint(consumer.Consumer.Blueprint):
        """The steps of Celery's consumer but one."""

        default_steps = tuple(step for step in STEPS if step != DELAYED_DELIVERY)

    def __init__(
        self, *args: Any, worker_options: dict[str, Any] | None = None, **options: Any
    ) -> None:
        super().__init__(*args, worker_options=(worker_options or {}) | ALONE, **options)
