"""What makes a Celery worker outlive its broker: for the files slice and for classify's cluster (decision 44).

Names the classes and does not import them: kombu and Celery do, when a Redis or a worker is what
they have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kombu.transport import TRANSPORT_ALIASES

if TYPE_CHECKING:
    from celery import Celery

TRANSPORT = "atelier.broker.transport:Transport"
CONSUMER = "atelier.broker.consumer:Consumer"


def harden(app: Celery) -> None:
    """Give the app's workers that consumer, and every connection of this process to a Redis that transport."""
    TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), TRANSPORT))
    app.conf.worker_consumer = CONSUMER
