"""Makes a Celery worker outlive its broker: for the files slice and classify's cluster.

See decision 44. The classes are named and not imported here: kombu and Celery import them when a
Redis or a worker is in use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kombu.transport import TRANSPORT_ALIASES

if TYPE_CHECKING:
    from celery import Celery

TRANSPORT = "atelier.broker.transport:Transport"
CONSUMER = "atelier.broker.consumer:Consumer"


def harden(app: Celery) -> None:
    """Give the app's workers this consumer, and Redis connections this transport.

    The transport is that of every Redis connection of this process.
    """
    TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), TRANSPORT))
    app.conf.worker_consumer = CONSUMER
